"""What every worker of a learned model does: read request.json, say what failed, write result.npz.

A worker runs in the environment of its model, so this file needs Python 3.10 and numpy, nothing else.

    FOLDER/request.json   {"checkpoint", "device", "seed", "images": [{"file", "width", "height", "K" or null}], ...}
    FOLDER/result.npz     arrays, and `meta`: JSON {"package", "checkpoint", "device", ...}
    FOLDER/error.json     {"kind": "package" | "weights" | "input" | "failure", "message"} instead, exit code 1
"""

# pyright: reportMissingImports=false
import json
import sys
import traceback
from pathlib import Path

import numpy as np


class Trouble(Exception):
    """kind: what the user has to provide."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def run(work):
    """work: (request dict, folder) -> (arrays, meta)."""
    folder = Path(sys.argv[1])
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]  # moge.py here is not the package
    request = json.loads((folder / "request.json").read_text())
    if request.get("code"):
        sys.path.insert(0, request["code"])  # a checkout, of a model that is no package
    try:
        arrays, meta = work(request, folder)
        meta = {"checkpoint": request["checkpoint"], **meta}
        np.savez(folder / "result.npz", meta=json.dumps(meta), **arrays)
        return
    except Trouble as error:
        kind, message = error.kind, str(error)
    except ImportError as error:
        kind, message = "package", str(error)
    except Exception as error:  # noqa: BLE001  a foreign model raises anything; it is told, with its traceback
        kind, message = "failure", f"{type(error).__name__}: {error}"
    traceback.print_exc()
    (folder / "error.json").write_text(json.dumps({"kind": kind, "message": message}))
    sys.exit(1)


def load(make):
    """The model that `make` loads; whatever goes wrong there is about weights (absent, gated, no network)."""
    try:
        return make()
    except ImportError:
        raise
    except Exception as error:
        raise Trouble("weights", f"{type(error).__name__}: {error}") from error


def device(request):
    """As asked for, else the GPU where there is one."""
    import torch

    torch.manual_seed(request.get("seed", 0))
    return request.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")


def paths(request, folder):
    return [str(folder / image["file"]) for image in request["images"]]


def numbers(value):
    """A tensor or array as float64."""
    return np.asarray(value.detach().float().cpu().numpy() if hasattr(value, "detach") else value, dtype=np.float64)


def canvas(depth, valid, height, width, top, left):
    """A crop put back where it was in the resized picture (height, width)."""
    whole, known = np.zeros((height, width)), np.zeros((height, width), dtype=bool)
    h, w = depth.shape
    whole[top : top + h, left : left + w] = depth
    known[top : top + h, left : left + w] = valid
    return whole, known


def views(depths, valids, Ks, poses=None, metric=False):
    """The arrays of a result. depths: N x (h, w), of the whole picture resized to (h, w); Ks: N x (3, 3) in pixels of
    that size; poses: N x (4, 4) T_world_camera, None where nothing is known of them."""
    height, width = max(d.shape[0] for d in depths), max(d.shape[1] for d in depths)
    if any(d.shape != (height, width) for d in depths):
        raise Trouble("input", "the pictures differ in size; give pictures of one camera")
    return {
        "depth": np.stack(depths).astype(np.float32),
        "valid": np.stack(valids).astype(bool),
        "K": np.stack(Ks).astype(np.float64),
        "T_world_camera": np.stack(poses if poses is not None else [np.eye(4)] * len(depths)).astype(np.float64),
        "metric": np.array(bool(metric)),
    }
