"""Bar: whatever is changed in a signed dataset is noticed: bits of every file, files dropped, added, swapped.

python -m bench.bars_trust tampering
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bench.rows import Row
from bench.trust.defects import Draft
from blueprint import verify
from blueprint.apps.release.signing import envelope
from blueprint.backends.signer_file import SignerFile, create_key

BITS = 60  # per file, evenly spread, the first and the last among them
PREDICATE = {
    "frames": [{"first_frame": 0, "last_frame": 9, "sensor_source": "mujoco", "physics_backend": "mujoco"}],
    "frame_count": 10,
    "episodes": [
        {"episode": 0, "first_frame": 0, "last_frame": 9, "sensor_source": "mujoco", "success": True, "verified": True}
    ],
    "inputs": [{"what": "capture", "name": "drawn", "licence": "CC0-1.0", "commercial": "yes"}],
    "commercial_use": "yes",
    "physics_verified": True,
    "training_suitability": "physics_verified",
    "measurements": [],
}


def rows() -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as name:
        root = Draft(np.random.default_rng(0)).write(Path(name) / "dataset")
        create_key(Path(name) / "key.pem")
        signer = SignerFile(Path(name) / "key.pem")
        files = sorted(path for path in root.rglob("*") if path.is_file())
        subject = {path.relative_to(root).as_posix(): verify.file_sha256(path) for path in files}
        (root / verify.ENVELOPE).write_bytes(envelope(PREDICATE | {"subject": subject}, signer))
        before = _noticed(root, signer)
        tried = [_noticed(root, signer) for _ in _changes(root, files)]
        after = _noticed(root, signer)
    yield Row(
        "tampering: the dataset as it was signed", f"refused {before + after} times", "0", not before and not after
    )
    yield Row(
        f"tampering over {len(files)} files and the envelope",
        f"{sum(tried)} of {len(tried)} changes noticed",
        "100 %",
        all(tried) and len(tried) > BITS * len(files),
    )


def _noticed(root: Path, signer: SignerFile) -> bool:
    try:
        verify.verify(root, [signer.public_key], "physics_verified")
    except verify.Refused:
        return True
    return False


def _changes(root: Path, files: list[Path]) -> Iterator[None]:
    """Make one change, yield, undo it."""
    for path in files:
        good = path.read_bytes()
        for place in np.linspace(0, 8 * len(good) - 1, BITS).astype(int).tolist():
            bad = bytearray(good)
            bad[place // 8] ^= 1 << place % 8
            path.write_bytes(bad)
            yield
        for other in (good[:-1], good + b"\0", b"", files[0].read_bytes() if path != files[0] else b"x"):
            path.write_bytes(other)
            yield
        path.unlink()
        yield
        path.write_bytes(good)
    (root / "extra.bin").write_bytes(b"")
    yield
    (root / "extra.bin").unlink()
    signed = root / verify.ENVELOPE
    good = signed.read_bytes()
    content = json.loads(good)
    payload = base64.b64decode(content["payload"])
    for place in np.linspace(0, 8 * len(payload) - 1, 4 * BITS).astype(int).tolist():
        bad = bytearray(payload)
        bad[place // 8] ^= 1 << place % 8
        signed.write_text(json.dumps(content | {"payload": base64.b64encode(bad).decode()}))
        yield
    signed.write_bytes(good)
