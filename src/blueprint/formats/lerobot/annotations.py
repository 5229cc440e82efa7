"""Annotations of pictures and motion beside a dataset: COCO boxes, 3D boxes, contacts, camera calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.geometry.segmentation.boxes import Box
from blueprint.model.capture import Camera


def write_compact(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n")


class CocoBoxes:
    """Boxes of one camera as COCO's instances format: image_id is the frame, ids of categories are semantic values.

    Beyond COCO an annotation has `instance_id` and `amodal_bbox` (of the whole shape, may leave the picture; null where
    it reaches behind the camera).
    """

    def __init__(self, camera: str, size: tuple[int, int], categories: Sequence[str]) -> None:
        self._camera = camera
        self._size = size
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories = [{"id": i, "name": name} for i, name in enumerate(categories) if i]

    def begin_frame(self) -> None:
        frame, (width, height) = len(self._images), self._size
        name = f"{self._camera}/{frame:06d}"  # of no file: the pictures are frames of a video
        self._images.append({"id": frame, "file_name": name, "width": width, "height": height, "frame_index": frame})

    def add(self, instance: int, category: int, box: Box, area: int, amodal: Box | None) -> None:
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": len(self._images) - 1,
                "category_id": category,
                "instance_id": instance,
                "bbox": list(box),
                "area": area,
                "iscrowd": 0,
                "amodal_bbox": None if amodal is None else _rounded(amodal, 2),
            }
        )

    def save(self, path: Path) -> None:
        content = {"images": self._images, "annotations": self._annotations, "categories": self._categories}
        write_compact(path, content)


def box_3d(
    instance: int, category: int, body: str, center: NDArray, size: NDArray, quat_wxyz: NDArray
) -> dict[str, Any]:
    """One oriented box: center (3,) [m] and quat_wxyz turn its own axes into the camera's; size (3,) [m] along them."""
    return {
        "instance_id": instance,
        "category_id": category,
        "body": body,
        "center": _rounded(center, 6),
        "size": _rounded(size, 6),
        "quat_wxyz": _rounded(quat_wxyz, 8),
    }


def write_contacts(path: Path, names: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> None:
    """A row per contact. columns: frame (K,), bodies (K, 2) into `names`, and vectors (K, 3) or numbers (K,)."""
    bodies = columns["bodies"]
    arrays: dict[str, pa.Array] = {"frame_index": pa.array(columns["frame"].astype(np.int64))}
    for side, body in enumerate(("body_a", "body_b")):
        arrays[body] = pa.DictionaryArray.from_arrays(pa.array(bodies[:, side].astype(np.int32)), pa.array(list(names)))
    for name, values in columns.items():
        if name not in ("frame", "bodies"):
            flat = pa.array(np.ascontiguousarray(values, dtype=np.float64).ravel())
            arrays[name] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    pq.write_table(pa.table(arrays), path, compression="snappy")


def calibration(camera: Camera, T_world_camera: NDArray, moving: bool, **frames: Any) -> dict[str, Any]:
    """One camera. frames: further poses by name, [x, y, z, w, x, y, z] or null."""
    return camera.model_dump() | {
        "distortion": [0.0] * 5,  # of OpenCV's model: rendered pictures have none
        "moving": moving,
        "T_world_camera": None if moving else _rounded(T_world_camera, 9),
        **{name: None if pose is None else _rounded(pose, 9) for name, pose in frames.items()},
    }


def _rounded(values: Sequence[float] | NDArray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
