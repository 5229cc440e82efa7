"""The capture of `blueprint demo`: a procedural table-top behind a simulated RGB-D sensor.

It is written in the documented input format and then goes through the same pipeline as any other capture. Its
`origin` says "procedural", which the certificate repeats: nothing measured on it is a statement about a real scene.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.core.execute import map_items

GENERATOR = "blueprint-demo/1"  # raise it when the pictures change
FRAME = "000000"


def make_capture(folder: Path, seed: int) -> Path:
    """Write the demo capture of `seed` into `folder`, or keep the one that is there; returns `folder`.

    Raises InputError when the folder holds something else. Same seed, same bytes.
    """
    file = folder / "capture.json"
    if folder.exists():
        held = json.loads(file.read_text()) if file.is_file() else {}
        if held.get("generator") != {"name": GENERATOR, "seed": seed}:
            raise InputError(
                f"{folder} already holds something other than the demo capture of seed {seed}",
                "choose another folder, or delete this one",
            )
        return folder
    drawing = folder.with_name(f".{folder.name}.drawing")
    shutil.rmtree(drawing, ignore_errors=True)
    # In a process of its own: an EGL context does not survive the forks of the stages that follow.
    (drawn,) = map_items(write_capture, [(FRAME, seed)], drawing, what="drawing the demo capture")
    drawn.rename(folder)
    shutil.rmtree(drawing)
    return folder


def write_capture(seed: int, folder: Path) -> None:
    """Draw and write the capture/1 layout."""
    from blueprint.apps.procedural import room, sensor

    rng = np.random.default_rng(seed)
    placed = room.things(rng)
    T_world_camera = room.camera_pose(rng)
    model = room.room(rng, placed, T_world_camera)
    shot = room.shoot(model, rng, tuple(thing.name for thing in placed))
    pictures = {"rgb": sensor.photographed(shot, rng)[..., ::-1], "depth": sensor.measured_depth(shot, rng)}
    pictures["masks"] = shot.labels
    for kind, picture in pictures.items():
        (folder / kind).mkdir()
        (folder / kind / f"{FRAME}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    write_json(folder / "capture.json", description(seed, room.CAMERA.model_dump(), placed, T_world_camera))
    write_json(folder / "boxes.json", boxes(shot.labels, placed))
    (folder / "SOURCE.md").write_text(
        f"# Demo capture\n\n- origin: procedural, drawn by `blueprint demo` ({GENERATOR}, seed {seed})\n"
        "- sensor: simulated, with the noise of a structured-light RGB-D camera; not a photograph of a real scene\n"
        "- licence: CC0-1.0\n"
    )


def description(
    seed: int, camera: dict[str, Any], placed: tuple[Any, ...], T_world_camera: NDArray[np.float64]
) -> dict[str, Any]:
    """Contents of capture.json."""
    files = {"rgb": f"rgb/{FRAME}.png", "depth": f"depth/{FRAME}.png", "mask": f"masks/{FRAME}.png"}
    return {
        "schema": "capture/1",
        "name": "demo",
        "kind": "rgbd",
        "origin": "procedural",
        "licence": "CC0-1.0",
        "generator": {"name": GENERATOR, "seed": seed},
        "camera": camera | {"dist": [], "model": "PINHOLE", "source": "set by the generator"},
        "frames": [{"id": FRAME, "width": camera["width"], "height": camera["height"], **files}],
        "gt": {
            "objects": [
                {
                    "label": label,
                    "name": thing.name,
                    "dims_m": [round(d, 6) for d in thing.shape.dims],
                    "pose": {"position": [thing.x, thing.y, 0.0], "yaw_rad": thing.yaw},
                }
                for label, thing in enumerate(placed, start=1)
            ],
            "T_world_cam": T_world_camera.tolist(),
            "note": "exact: from the generator; poses of the base centres, world z = 0 is the table top",
        },
        "units": "m",
        "depth_unit": "mm(uint16)",
        "pose_convention": "T_world_cam, OpenCV camera (x right, y down, z forward)",
    }


def boxes(labels: NDArray[np.uint16], placed: tuple[Any, ...], margin: int = 4) -> dict[str, Any]:
    """Contents of boxes.json: what a person would draw, a few pixels loose."""
    drawn = []
    for label, thing in enumerate(placed, start=1):
        v, u = np.nonzero(labels == label)
        low = (max(int(u.min()) - margin, 0), max(int(v.min()) - margin, 0))
        high = (min(int(u.max()) + margin, labels.shape[1] - 1), min(int(v.max()) + margin, labels.shape[0] - 1))
        drawn.append({"label": label, "name": thing.name, "xyxy": [*low, *high]})
    return {"schema": "boxes/1", "frame": FRAME, "boxes": drawn}


def write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=1) + "\n")
