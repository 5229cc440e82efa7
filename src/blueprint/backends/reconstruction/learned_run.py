"""Run a learned model in an environment of its own.

The contract with the worker scripts (files in a folder) stands in `workers/contract.py`. The environment names the
interpreter: BLUEPRINT_MOGE_PYTHON=/opt/moge/bin/python; likewise _CODE (a checkout), _DEVICE.
`BLUEPRINT_LEARNED_TIMEOUT_S` bounds one call (3000). The settings choose the checkpoint, a name or a path; it is never
bundled, always loaded by the model's own loader.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.reconstruction.checkpoints import Checkpoint, LearnedModel
from blueprint.core.errors import BackendError, InputError
from blueprint.core.process import last_lines, run_apart
from blueprint.core.report import log, warn
from blueprint.formats import images
from blueprint.model.capture import Frame

WORKERS = Path(__file__).parents[2] / "workers"
MOST_RESULT_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Ran:
    """What a worker did. arrays: of result.npz; meta: package, device and so on."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]
    checkpoint: Checkpoint

    @property
    def said(self) -> str:
        """For the receipt."""
        return f"{self.checkpoint.name}, {self.meta.get('package', '')}"

    @property
    def licences(self) -> dict[str, bool]:
        return {f"{self.checkpoint.name}: {self.checkpoint.licence}": self.checkpoint.commercial}


def run_worker(
    model: LearnedModel,
    frames: Sequence[tuple[Frame, Path]],
    more: dict[str, Any],
    checkpoints: Mapping[str, str],
    environ: Mapping[str, str] = os.environ,
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> Ran:
    """One call. frames: with the file of each picture; more: of the request; checkpoints: see
    `LearnedModel.chosen`; arrays: what goes into arrays.npz.

    Raises BackendError that says what to install or fetch.
    """
    python = _interpreter(model, environ)
    checkpoint = model.chosen(checkpoints)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entries = []
        for i, (frame, file) in enumerate(frames):
            images.write_color(folder / f"{i:03d}.png", images.read_color(file))
            entries.append({"file": f"{i:03d}.png", **_camera(frame)})
        request = {"checkpoint": checkpoint.name, "images": entries, "code": environ.get(model.variable("CODE"), "")}
        request |= {"device": environ.get(model.variable("DEVICE"), ""), **more}
        (folder / "request.json").write_text(json.dumps(request))
        if arrays is not None:
            np.savez(folder / "arrays.npz", **dict(arrays))  # type: ignore[arg-type]
        log(f"{model.title}: {checkpoint.name} on {len(entries)} picture(s)")
        if not checkpoint.commercial:
            warn(f"{checkpoint.name}: {checkpoint.licence}: what it makes is not for commercial use")
        _call([str(python), str(WORKERS / model.worker), str(folder)], folder, model, checkpoint, environ)
        return _read(folder / "result.npz", model, checkpoint)


def _camera(frame: Frame) -> dict[str, Any]:
    """Intrinsics, as far as they are more than a guess."""
    c = frame.camera
    K = [[c.fx, 0, c.cx], [0, c.fy, c.cy], [0, 0, 1]] if frame.intrinsics != "guessed" else None
    return {"width": c.width, "height": c.height, "K": K}


def _interpreter(model: LearnedModel, environ: Mapping[str, str]) -> Path:
    variable = model.variable("PYTHON")
    text = environ.get(variable, "")
    how = f"{model.install}\nthen: export {variable}=/that/environment/bin/python"
    if model.checkout:
        how += f" {model.variable('CODE')}=/that/checkout"
    if not text:
        raise BackendError(f"{model.title} runs in an environment of its own, and {variable} names none", how)
    if not os.access(text, os.X_OK) or Path(text).is_dir():
        raise BackendError(f"{variable}={text} is no program", how)
    return Path(text)


def _call(
    command: list[str], folder: Path, model: LearnedModel, checkpoint: Checkpoint, environ: Mapping[str, str]
) -> None:
    limit_s = float(environ.get("BLUEPRINT_LEARNED_TIMEOUT_S") or 3000)
    record = folder / "log"
    try:
        code = run_apart(command, record, environ, limit_s)
    except subprocess.TimeoutExpired as error:
        hint = "raise BLUEPRINT_LEARNED_TIMEOUT_S, or give fewer or smaller pictures"
        raise BackendError(f"{model.title} gave no result within {limit_s:g} s", hint) from error
    except OSError as error:
        raise BackendError(f"{model.variable('PYTHON')}: {error}", model.install) from error
    if code == 0:
        return
    try:
        told = json.loads((folder / "error.json").read_bytes())
        kind, message = str(told["kind"]), str(told["message"])
    except (OSError, ValueError, KeyError, TypeError):
        kind, message = "failure", f"it ended with exit code {code}: {last_lines(record)}"
    if kind == "input":
        raise InputError(f"{model.title}: {message}", "see docs/learned_models.md")
    hints = {
        "package": f"in {command[0]}: {model.install}",
        "weights": f"fetch them once with network: {model.title} loads {checkpoint.name!r} by itself; accept its terms "
        f"on its page and log in (hf auth login) if it is gated, or name a local copy in "
        f"reconstruction.checkpoints.{model.name}",
    }
    hint = hints.get(kind, f"its last log lines:\n{last_lines(record)}")
    raise BackendError(f"{model.title} cannot run: {message}", hint)


def _read(file: Path, model: LearnedModel, checkpoint: Checkpoint) -> Ran:
    """Raises BackendError when the worker broke the contract."""
    try:
        if file.stat().st_size > MOST_RESULT_BYTES:
            raise ValueError(f"larger than {MOST_RESULT_BYTES} bytes")
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        meta = json.loads(str(arrays.pop("meta")))
    except Exception as error:
        raise BackendError(f"{model.title} wrote no result that can be read: {error}", "see its worker") from error
    return Ran(arrays, meta if isinstance(meta, dict) else {}, checkpoint)
