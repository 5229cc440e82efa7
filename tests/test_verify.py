"""Laws of certificates: what was signed is what is there, by whom the reader trusts, fit for what the policy says."""

from __future__ import annotations

import ast
import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from blueprint import verify
from blueprint.apps.release import delivery, signing
from blueprint.apps.release.convert import TITLES, convert_dataset
from blueprint.backends.signer_file import SignerFile, create_key
from blueprint.core.errors import BackendError
from blueprint.model.certificate import Suitability
from formats.lerobot_toys import LENGTHS, make_dataset
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


def test_one_episode_can_be_shown(signed: Path, signer: SignerFile, tmp_path: Path) -> None:
    (tmp_path / "lab.pub").write_text(signer.public_key.hex())
    keys = [tmp_path / "lab.pub"]
    shown = signing.examined(signed, keys, POLICY, 1)
    assert shown["episode"] == CONTENT["episodes"][1] and '"not_checked"' in signing.text(shown)
    assert "commercial use of all that they were made from: yes" in signing.text(shown)
    lacking = signing.examined(signed, keys, POLICY, 2)
    assert not lacking["verified"] and lacking["reasons"] == ["there is no episode 2; the dataset has 2"]


def test_the_commercial_verdict_is_shown_with_what_it_is_not_sure_of(signed: Path, signer: SignerFile) -> None:
    robot = {"what": "robot", "name": "[bold]arm[/bold]", "licence": "ask", "commercial": "unknown"}
    sign(signed, signer, inputs=[*CONTENT["inputs"], robot], commercial_use="unknown")
    done = verify.verify(signed, [signer.public_key], POLICY)
    assert r"unknown (robot \[bold]arm\[/bold])" in signing.text(signing.approval(done))


def test_an_envelope_behind_the_datasets_name_is_its_own(signed: Path, signer: SignerFile) -> None:
    """What lies beside two datasets under their names does not mix, and a plain one is the last that is looked for."""
    (signed / verify.ENVELOPE).rename(signed.parent / f"dataset.{verify.ENVELOPE}")
    (signed.parent / verify.ENVELOPE).write_text("{}")
    assert verify.verify(signed, [signer.public_key], POLICY).policy == POLICY


# ------------------------------------------------------------------ copies in other formats

SAME, NEEDS_DEPTH = "v3.0", "pointcloud"  # what the source is already, and what it has nothing for


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeRobot dataset signed by this user."""
    root = make_dataset(tmp_path_factory.mktemp("source") / "dataset")
    frames = sum(LENGTHS)
    ranges = [CONTENT["frames"][0] | {"last_frame": frames - 1}]
    episodes = [CONTENT["episodes"][0] | {"last_frame": frames - 1}]
    sign(root, signing.chosen_signer(), frame_count=frames, frames=ranges, episodes=episodes)
    return root


@pytest.mark.parametrize("target", [name for name in TITLES if name not in (SAME, NEEDS_DEPTH)])
def test_a_copy_in_any_format_is_certified_and_can_be_delivered(lerobot: Path, tmp_path: Path, target: str) -> None:
    keys = [signing.chosen_signer().public_key]
    copy = tmp_path / "copy"
    try:
        assert convert_dataset(lerobot, copy, target)["unsigned"] == ""
    except BackendError as error:
        pytest.skip(str(error))
    done, source = verify.verify(copy, keys, POLICY), verify.verify(lerobot, keys, POLICY)
    origin = {"envelope_sha256": verify.file_sha256(lerobot / verify.ENVELOPE), "keyid": verify.key_id(keys[0])}
    assert (
        origin.items() <= done.predicate["derived_from"].items() and done.predicate["derived_from"]["target"] == target
    )
    assert {**done.predicate, "derived_from": None} == {**source.predicate, "derived_from": None}
    assert f"a copy ({target})" in signing.text(signing.approval(done))
    delivery.deliver(copy, str(tmp_path / "there"), POLICY, keys, audit=tmp_path / "audit")
    assert verify.verify(tmp_path / "there", keys, POLICY).subject == done.subject
    file = max((copy / name for name in done.subject), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(verify.Refused, match="was changed"):
        verify.verify(copy, keys, POLICY)


def test_a_copy_of_a_copy_names_both(lerobot: Path, tmp_path: Path) -> None:
    keys = [signing.chosen_signer().public_key]
    convert_dataset(lerobot, tmp_path / "old", "v2.1")
    convert_dataset(tmp_path / "old", tmp_path / "new", "v3.0")
    origin = verify.verify(tmp_path / "new", keys, POLICY).predicate["derived_from"]
    assert (origin["target"], origin["derived_from"]["target"]) == ("v3.0", "v2.1")
    assert origin["envelope_sha256"] == verify.file_sha256(tmp_path / "old" / verify.ENVELOPE)


def test_a_copy_of_anothers_data_needs_their_key(lerobot: Path, signer: SignerFile, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(lerobot, theirs)
    done = verify.verify(lerobot, [signing.chosen_signer().public_key], POLICY)
    sign(theirs, signer, **dict(done.predicate))
    assert "no signature by a trusted key" in convert_dataset(theirs, tmp_path / "unsigned", "v2.1")["unsigned"]
    assert not (tmp_path / "unsigned" / verify.ENVELOPE).exists()
    (tmp_path / "their.pub").write_text(signer.public_key.hex())
    assert convert_dataset(theirs, tmp_path / "copy", "v2.1", [tmp_path / "their.pub"])["unsigned"] == ""
    derived = verify.verify(tmp_path / "copy", [signing.chosen_signer().public_key], POLICY)
    assert derived.predicate["derived_from"]["keyid"] == verify.key_id(signer.public_key)


def test_levels_are_those_of_certificates_lowest_first() -> None:
    """Written twice, since the file stands alone."""
    assert get_args(Suitability) == verify.LEVELS
