"""Stand-ins for the environments of learned models: programs that answer with what a test recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from blueprint.formats import images
from blueprint.model.artifacts import Capture
from blueprint.model.capture import Frame, ScaleAnchor, UserBox
from toy_table import Shot

STUB = """#!{python}
import json, shutil, sys
from pathlib import Path
worker, folder = Path(sys.argv[1]), Path(sys.argv[2])
here = Path(__file__).parent
request = json.loads((folder / "request.json").read_text())
(here / "seen.json").write_text(json.dumps({{"worker": worker.name, **request}}))
recorded = here / f"{{worker.stem}}.npz"
if (here / "error.json").exists():
    shutil.copy(here / "error.json", folder)
if recorded.exists():
    shutil.copy(recorded, folder / "result.npz")
sys.exit(1 if (here / "error.json").exists() else 0)
"""


def stub(folder: Path) -> Path:
    """A program that plays a model's interpreter: WORKER.npz beside it becomes the result, error.json the error."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "python"
    program.write_text(STUB.format(python=sys.executable))
    program.chmod(0o755)
    return program


def record(folder: Path, worker: str, **arrays: np.ndarray) -> None:
    np.savez(folder / f"{worker}.npz", meta=json.dumps({"package": f"{worker} 0", "device": "cpu"}), **arrays)


def record_views(folder: Path, worker: str, shots: list[Shot], *, unit_m: float = 1.0, metric: bool = False) -> None:
    """What a perfect model of arbitrary unit would say of the shots, in the frame of the first camera."""
    first = np.linalg.inv(shots[0].T_world_camera)
    poses = [first @ shot.T_world_camera for shot in shots]
    for pose in poses:
        pose[:3, 3] /= unit_m
    camera = shots[0].camera
    K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    record(
        folder,
        worker,
        depth=np.stack([shot.depth / unit_m for shot in shots]).astype(np.float32),
        valid=np.stack([shot.depth > 0 for shot in shots]),
        K=np.stack([K] * len(shots)),
        T_world_camera=np.stack(poses),
        metric=np.array(metric),
    )


def photographs(folder: Path, shots: list[Shot], *anchors: ScaleAnchor, boxes: tuple[UserBox, ...] = ()) -> Capture:
    """A capture of the shots' colour alone."""
    frames = []
    for i, shot in enumerate(shots):
        images.write_color(folder / f"color/{i}.png", shot.color)
        frames.append(Frame(id=str(i), color=f"color/{i}.png", camera=shot.camera))
    kind = "rgb" if len(shots) == 1 else "rgb_multiview"
    return Capture(name="toy", kind=kind, frames=tuple(frames), anchors=anchors, boxes=boxes).save(folder)


def project(shot: Shot, point: tuple[float, float, float]) -> tuple[float, float]:
    """Pixel of a world point."""
    x, y, z = (np.linalg.inv(shot.T_world_camera) @ [*point, 1.0])[:3]
    return float(shot.camera.fx * x / z + shot.camera.cx), float(shot.camera.fy * y / z + shot.camera.cy)


@cache
def _imports(python: str, packages: str, code: str) -> str:
    """Empty when `python` can import `packages`, else why not."""
    script = f"import sys; sys.path.insert(0, {code!r}); import {packages}"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def torch_python(packages: str, code: str = "") -> str:
    """An interpreter with `packages` (BLUEPRINT_TEST_TORCH_PYTHON, else this one); without one the test is skipped."""
    python = os.environ.get("BLUEPRINT_TEST_TORCH_PYTHON") or sys.executable
    why = _imports(python, packages, code)
    if why:
        pytest.skip(f"{packages} cannot be imported by {Path(python).name} ({why}); set BLUEPRINT_TEST_TORCH_PYTHON")
    return python
