"""Side files read back, a frame at a time: what `sidecar.py` writes and `sidecar.md` describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from blueprint.core.errors import InputError, IntegrityError
from blueprint.formats.arrays import npz_frames
from blueprint.formats.json_file import read_json
from blueprint.formats.lerobot.read import Episode, ForeignDataset, as_array
from blueprint.formats.lerobot.sidecar import SIDECAR, misaligned
from blueprint.formats.video.coding import decode_gray
from blueprint.model.capture import Camera


class Sidecar:
    """Of `dataset`. Any part may be absent: then there is None, or nothing.

    Raises IntegrityError for side files that are damaged or have not one entry per frame, InputError for bad JSON.
    """

    def __init__(self, dataset: ForeignDataset) -> None:
        self.root = dataset.root / SIDECAR
        if self.root.is_dir():
            for where, fault in misaligned(self.root, [episode.length for episode in dataset.episodes()]):
                raise IntegrityError(f"{where}: {fault}", "take the sidecar of the original")
        self._scene = self._json("scene.json")

    def labels(self, *, cloud: bool) -> dict[int, str]:
        """Names of the instances in a pack's clouds and pictures, of the bodies in those of a plain dataset."""
        found = self._scene.get("instances" if cloud or self._scene.get("pack") else "segmentation", {})
        return {int(value): kind if isinstance(kind, str) else kind["name"] for value, kind in found.items()}

    def cameras(self, episode: Episode) -> dict[str, Camera]:
        """Intrinsics under the episode's look, else those of the scene."""
        found = self._calibration(episode) or self._scene.get("cameras", {})
        try:
            return {name: Camera(**{key: one[key] for key in Camera.model_fields}) for name, one in found.items()}
        except (KeyError, TypeError, ValidationError) as error:
            raise InputError(f"{self.root}: intrinsics: {error}", "take the sidecar of the original") from error

    def poses(self, episode: Episode) -> dict[str, NDArray[np.float64]]:
        """`body/NAME`, `camera/NAME` -> T_world_NAME of each frame, (T, 7) [m, quaternion wxyz], NaN = not there."""
        found = {
            f"camera/{name}": np.tile(np.array(one["T_world_camera"], float), (episode.length, 1))
            for name, one in self._calibration(episode).items()
            if one.get("T_world_camera")
        }
        path = self.root / f"poses/{episode.index:06d}.parquet"
        if path.is_file():
            table = pq.read_table(path)
            names = [name for name in table.column_names if name.startswith(("body/", "camera/"))]
            found |= {name: as_array(table[name]) for name in names}
        return found

    def depth(self, camera: str, episode: Episode) -> Iterator[NDArray[np.float32]] | None:
        """(H, W) [m] along the optical axis, 0 = nothing in range, of each frame."""
        found = self._pictures("depth", camera, episode, "depth")
        return None if found is None else (np.divide(f, 1 if f.dtype == "f4" else 1000, dtype="f4") for f in found)

    def segmentation(self, camera: str, episode: Episode) -> Iterator[NDArray[np.uint16]] | None:
        """(H, W) values of `labels` of each frame."""
        return self._pictures("segmentation", camera, episode, "instance")

    def point_cloud(self, episode: Episode) -> Iterator[dict[str, NDArray[Any]]] | None:
        """points (N, 3) float32 [m] world frame, colors (N, 3) uint8, instance, camera (N,), normals (N, 3)."""
        path = self.root / f"point_cloud/{episode.index:06d}.npz"
        return npz_frames(path) if path.is_file() else None

    def _pictures(self, kind: str, camera: str, episode: Episode, array: str) -> Iterator[NDArray[Any]] | None:
        path = self.root / f"{kind}/{camera}/{episode.index:06d}.mkv"
        if path.is_file():
            return decode_gray(path)
        path = path.with_suffix(".npz")
        return (frame[array] for frame in npz_frames(path, array)) if path.is_file() else None

    def _calibration(self, episode: Episode) -> dict[str, Any]:
        return self._json(f"calibration/{episode.index:06d}.json").get("cameras", {})

    def _json(self, name: str) -> dict[str, Any]:
        return read_json(self.root / name) if (self.root / name).is_file() else {}
