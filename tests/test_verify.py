"""Laws of certificates: what was signed is what is there, by whom the reader trusts, fit for what the policy says."""

from __future__ import annotations

import ast
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from blueprint import verify
from blueprint.backends.signer_file import SignerFile, create_key
from blueprint.model.certificate import Suitability
from toy_signed import CONTENT, POLICY, sign


def reasons(root: Path, signer: SignerFile, policy: str = POLICY) -> str:
    with pytest.raises(verify.Refused) as refused:
        verify.verify(root, [signer.public_key], policy)
    return str(refused.value)


def test_what_was_signed_is_verified_wherever_its_envelope_lies(signed: Path, signer: SignerFile) -> None:
    done = verify.verify(signed, [signer.public_key], POLICY)
    assert set(done.subject) == {"meta/info.json", "data/0.parquet", "videos/a/0.mp4"}
    (signed / verify.ENVELOPE).rename(signed.parent / verify.ENVELOPE)
    assert verify.verify(signed, [signer.public_key], POLICY).keyid == verify.key_id(signer.public_key)


def test_every_bit_of_every_file_is_guarded(signed: Path, signer: SignerFile) -> None:
    for path in sorted(signed.rglob("*")):
        if not path.is_file() or path.name == verify.ENVELOPE:
            continue
        good = path.read_bytes()
        for place in range(0, len(good) * 8, max(1, len(good) * 8 // 40)):
            bad = bytearray(good)
            bad[place // 8] ^= 1 << place % 8
            path.write_bytes(bad)
            assert f"{path.relative_to(signed)} was changed" in reasons(signed, signer)
        path.write_bytes(good)
    verify.verify(signed, [signer.public_key], POLICY)


def test_every_byte_of_the_envelope_that_means_something_is_guarded(signed: Path, signer: SignerFile) -> None:
    path = signed / verify.ENVELOPE
    content = json.loads(path.read_bytes())
    payload = base64.b64decode(content["payload"])
    for place in range(0, len(payload), max(1, len(payload) // 150)):
        bad = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        path.write_text(json.dumps(content | {"payload": base64.b64encode(bad).decode()}))
        assert "no signature by a trusted key" in reasons(signed, signer)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda root: (root / "data/0.parquet").unlink(), "data/0.parquet is missing"),
        (lambda root: (root / "data/1.parquet").write_bytes(b""), "data/1.parquet is not in the certificate"),
        (lambda root: (root / "data/0.parquet").rename(root / "data/2.parquet"), "data/0.parquet is missing"),
        (lambda root: (root / "link").symlink_to("/etc/passwd"), "link is no regular file"),
        (lambda root: (root / "folder").symlink_to("/etc"), "folder is no regular file"),
        (lambda root: os.mkfifo(root / "pipe"), "pipe is no regular file"),
        (lambda root: (root / verify.ENVELOPE).unlink(), "no signed certificate"),
        (lambda root: (root / verify.ENVELOPE).write_text("{"), "is no DSSE envelope"),
        (lambda root: (root / verify.ENVELOPE).write_text("[" * 100_000), "is no DSSE envelope"),
        (lambda root: (root / verify.ENVELOPE).write_text('{"payloadType": "text/plain"}'), "its payload is"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_may_be_missing_added_or_led_elsewhere(
    signed: Path, signer: SignerFile, what: Callable[[Path], object], said: str
) -> None:
    what(signed)
    assert said in reasons(signed, signer)


def test_only_the_readers_own_keys_count(signed: Path, signer: SignerFile, tmp_path: Path) -> None:
    create_key(tmp_path / "other.pem")
    other = SignerFile(tmp_path / "other.pem")
    with pytest.raises(verify.Refused, match="no signature by a trusted key"):
        verify.verify(signed, [other.public_key], POLICY)
    with pytest.raises(verify.Refused, match="no public key was given"):
        verify.verify(signed, [], POLICY)
    (signed / "lab.pub").write_text(other.public_key.hex())  # a key in the signed is just another file
    assert "lab.pub is not in the certificate" in reasons(signed, signer)


@pytest.mark.parametrize(
    ("changes", "policy", "said"),
    [
        ({}, "production", "does not admit sensors of 'mujoco'"),
        ({"training_suitability": "development_only"}, POLICY, "training suitability is development_only"),
        ({"training_suitability": "excellent"}, "development", "training suitability is excellent"),
        ({"physics_verified": False}, POLICY, "physics and success were not verified"),
        ({"physics_verified": "yes"}, POLICY, "physics and success were not verified"),
        ({"measurements": [{"text": "it holds", "passed": False}]}, POLICY, "checks failed: it holds"),
        ({"frame_count": 101}, POLICY, "do not cover every frame"),
        ({"frames": []}, POLICY, "frames do not cover every frame"),
        ({"frames": [CONTENT["frames"][0], CONTENT["frames"][0]]}, POLICY, "do not cover every frame"),
        ({"frames": [CONTENT["frames"][0] | {"sensor_source": "mock"}]}, "development", "sensor data is made up"),
        ({"frames": [CONTENT["frames"][0] | {"sensor_source": "Mock_v2"}]}, POLICY, "sensor data is made up"),
        ({"frames": [CONTENT["frames"][0] | {"sensor_source": "blender"}]}, POLICY, "does not admit sensors"),
        ({"frames": None}, POLICY, "does not say what the policy needs"),
        ({}, "anything", "no policy 'anything'"),
    ],
)
def test_a_policy_admits_what_it_names_and_nothing_else(
    signed: Path, signer: SignerFile, changes: dict, policy: str, said: str
) -> None:
    sign(signed, signer, **changes)
    assert said in reasons(signed, signer, policy)


def test_a_part_of_the_frames_that_is_made_up_spoils_all(signed: Path, signer: SignerFile) -> None:
    real = CONTENT["frames"][0] | {"last_frame": 98}
    made_up = CONTENT["frames"][0] | {"first_frame": 99, "sensor_source": "mock"}
    for policy in verify.POLICIES:
        sign(signed, signer, frames=[real, made_up])
        assert "sensor data is made up" in reasons(signed, signer, policy)


def test_it_stands_alone(signed: Path, signer: SignerFile, tmp_path: Path) -> None:
    """Copied out of the product, by another interpreter, without the product on its path."""
    imported = [n for n in ast.walk(ast.parse(Path(verify.__file__).read_text())) if isinstance(n, ast.ImportFrom)]
    assert not [node.module for node in imported if (node.module or "").startswith("blueprint")]
    script = tmp_path / "check_it.py"
    script.write_bytes(Path(verify.__file__).read_bytes())
    (tmp_path / "lab.pub").write_text(signer.public_key.hex())
    command = [sys.executable, str(script), str(signed), "--key", str(tmp_path / "lab.pub"), "--policy"]
    good = subprocess.run([*command, POLICY], capture_output=True, text=True, check=False)
    assert good.returncode == 0 and good.stdout.startswith("verified: 3 files")
    refused = subprocess.run([*command, "production"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "does not admit sensors" in refused.stdout


def test_levels_are_those_of_certificates_lowest_first() -> None:
    """Written twice, since the file stands alone."""
    assert get_args(Suitability) == verify.LEVELS
