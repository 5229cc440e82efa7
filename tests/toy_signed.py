"""A dataset of three files, signed, for tests of verification and delivery."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint import verify
from blueprint.apps.release.signing import Signer, envelope
from blueprint.backends.signer_file import SignerFile, create_key

CONTENT: dict = {
    "scene": "toy",
    "sensor_source": "mujoco",
    "physics_backend": "mujoco 3.17.0",
    "frames": [
        {"first_frame": 0, "last_frame": 99, "sensor_source": "mujoco", "physics_backend": "mujoco 3.17.0"},
    ],
    "frame_count": 100,
    "physics_verified": True,
    "training_suitability": "physics_verified",
    "contents": "demonstrations",
    "episodes": [
        {
            "episode": k, "first_frame": 50 * k, "last_frame": 50 * k + 49, "sensor_source": "mujoco",
            "success": True, "verified": True, "score": 0.9, "checks": [], "terms": {}, "not_checked": ["policy"],
        }
        for k in range(2)
    ],
    "inputs": [{"what": "capture", "name": "toy", "licence": "CC0-1.0", "spdx": "CC0-1.0", "commercial": "yes"}],
    "commercial_use": "yes",
    "measurements": [{"text": "it holds", "passed": True}, {"text": "not looked at", "passed": None}],
}  # fmt: skip
POLICY = "physics_verified"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> SignerFile:
    path = tmp_path_factory.mktemp("keys") / "lab.pem"
    create_key(path)
    return SignerFile(path)


@pytest.fixture
def signed(tmp_path: Path, signer: SignerFile) -> Path:
    root = tmp_path / "dataset"
    for name, data in {"meta/info.json": b"{}", "data/0.parquet": b"rows", "videos/a/0.mp4": bytes(range(64))}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    sign(root, signer)
    return root


def sign(root: Path, signer: Signer, **changes: object) -> None:
    subject = {
        path.relative_to(root).as_posix(): verify.file_sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != verify.ENVELOPE
    }
    (root / verify.ENVELOPE).write_bytes(envelope(CONTENT | {"subject": subject} | changes, signer))
