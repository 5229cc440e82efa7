"""Cameras of photographs by structure from motion (COLMAP, Schoenberger and Frahm, CVPR 2016), in a child process."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import BackendError, InputError
from blueprint.core.process import run_child
from blueprint.formats import images
from blueprint.model.capture import Camera

LONGEST_PX = 1024  # pictures are matched at this size: more costs minutes and adds little
FEATURES = 4000
EXHAUSTIVE = 50  # photographs; beyond, each is matched with its neighbours in the order taken
OVERLAP = 10
LEAST_MODEL = 3
TIMEOUT_S = 120.0, 30.0  # at least, and for each photograph


@dataclass(frozen=True)
class Photo:
    """calibrated: `camera` is measured, not guessed, and stays as it is"""

    id: str
    file: Path
    camera: Camera
    calibrated: bool


@dataclass(frozen=True)
class Registered:
    """K (3, 3) [px of the photograph]; k1: radial distortion; T_camera_world (4, 4); points: index of those it sees"""

    id: str
    K: NDArray[np.float64]
    k1: float
    T_camera_world: NDArray[np.float64]
    points: NDArray[np.int64]


@dataclass(frozen=True)
class SparseModel:
    """Lengths in an arbitrary unit. points (N, 3); error_px: mean reprojection error at the size of matching"""

    views: tuple[Registered, ...]
    points: NDArray[np.float64]
    error_px: float


def require() -> None:
    """Raises BackendError when pycolmap is not installed."""
    if importlib.util.find_spec("pycolmap") is None:
        raise BackendError(
            "reconstructor 'photos' needs pycolmap, which is not installed", "pip install 'blueprint-pipeline[photos]'"
        )


def structure_from_motion(photos: Sequence[Photo], work: Path) -> SparseModel:
    """The largest connected model, one thread and one seed, so twice the same. work: an empty folder.

    Raises InputError when fewer than LEAST_MODEL photographs connect, BackendError without pycolmap.
    """
    require()
    groups = [_prepare(photo, work / "images") for photo in photos]
    timeout_s = TIMEOUT_S[0] + TIMEOUT_S[1] * len(photos)
    outcome = run_child("structure from motion", lambda: _child(groups, work), timeout_s=timeout_s, log=work / "log")
    if outcome.error:
        raise outcome.error
    found: dict[str, Any] = outcome.value
    if len(found["views"]) < LEAST_MODEL:
        raise InputError(
            f"only {len(found['views'])} of {len(photos)} photographs could be connected; the cameras stay unknown",
            "take 10 to 30 sharp pictures, about 10 degrees apart, each showing most of the one before; plain surfaces "
            "need something printed on or beside them (a newspaper under the objects does)" + _blurred(photos),
        )
    scale = {group.name: group.scale for group in groups}
    with np.load(work / "points.npz", allow_pickle=False) as arrays:
        views = tuple(_registered(view, arrays[f"seen_{i}"], scale) for i, view in enumerate(found["views"]))
        return SparseModel(views, arrays["points"], float(found["error_px"]))


@dataclass(frozen=True)
class _Group:
    """A photograph made ready: name relative to the folder of pictures; folder: those of one camera share it."""

    name: str
    folder: str
    model: str
    params: tuple[float, ...]
    scale: float


def _prepare(photo: Photo, folder: Path) -> _Group:
    """Write the picture at the size of matching, below a folder for its camera."""
    color = images.read_color(photo.file)
    scale = min(1.0, LONGEST_PX / max(color.shape[:2]))
    if scale < 1:
        color = cv2.resize(color, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    c = photo.camera
    # COLMAP's origin is the corner of the first pixel, OpenCV's (and ours) its middle
    fx, fy, cx, cy = (round(scale * value, 3) for value in (c.fx, c.fy, c.cx + 0.5, c.cy + 0.5))
    model, params = ("PINHOLE", (fx, fy, cx, cy)) if photo.calibrated else ("SIMPLE_RADIAL", (fx, cx, cy, 0.0))
    shared = f"{c.width}x{c.height}_{fx:g}_{model}"
    images.write_color(folder / shared / f"{photo.id}.png", color)
    return _Group(f"{shared}/{photo.id}.png", shared, model, params, scale)


def _registered(view: dict[str, Any], points: NDArray[np.int64], scales: dict[str, float]) -> Registered:
    p, scale = view["params"], scales[view["name"]]
    fx, fy, cx, cy, k1 = (p[0], p[0], p[1], p[2], p[3]) if view["model"] == "SIMPLE_RADIAL" else (*p, 0.0)
    K = np.array([[fx / scale, 0, cx / scale - 0.5], [0, fy / scale, cy / scale - 0.5], [0, 0, 1]])
    return Registered(Path(view["name"]).stem, K, float(k1), np.array(view["T_camera_world"]), points)


def _blurred(photos: Sequence[Photo]) -> str:
    """Names of pictures much less sharp than the others (variance of the Laplacian), as a sentence."""
    sharpness: list[float] = []
    for photo in photos:
        gray = cv2.cvtColor(images.read_color(photo.file), cv2.COLOR_RGB2GRAY)
        scale = min(1.0, LONGEST_PX / max(gray.shape))
        sharpness.append(float(cv2.Laplacian(cv2.resize(gray, None, fx=scale, fy=scale), cv2.CV_64F).var()))
    limit = 0.2 * float(np.median(sharpness))
    names = [photo.id for photo, value in zip(photos, sharpness, strict=True) if value < limit]
    return f"; these look blurred: {', '.join(names)}" if names else ""


# ------------------------------------------------------------------ in the child


def _child(groups: Sequence[_Group], work: Path) -> dict[str, Any]:
    """Runs COLMAP. Writes points.npz; returns the views as JSON."""
    import pycolmap  # only here: its threads do not survive a fork

    pycolmap.set_random_seed(0)
    database, folder = work / "database.db", work / "images"
    cpu = pycolmap.Device.cpu
    for shared in sorted({group.folder for group in groups}):
        of = [group for group in groups if group.folder == shared]
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model, reader.camera_params = of[0].model, ",".join(map(str, of[0].params))
        extraction = pycolmap.FeatureExtractionOptions()
        extraction.num_threads, extraction.sift.max_num_features = 1, FEATURES
        pycolmap.extract_features(
            database,
            folder,
            image_names=[group.name for group in of],
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
            device=cpu,
        )
    _match(pycolmap, database, len(groups))
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.min_model_size = 1, LEAST_MODEL
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = 0
    with pycolmap.Database.open(database) as opened:
        calibrated = {c.camera_id for c in opened.read_all_cameras() if c.model.name == "PINHOLE"}
    options.constant_cameras = calibrated
    (work / "models").mkdir()
    models = pycolmap.incremental_mapping(database, folder, work / "models", options)
    best = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
    return {"views": [], "error_px": 0.0} if best is None else _written(best, work)


def _match(pycolmap: Any, database: Path, count: int) -> None:
    matching, verification = pycolmap.FeatureMatchingOptions(), pycolmap.TwoViewGeometryOptions()
    matching.num_threads, verification.ransac.random_seed = 1, 0
    shared = {"matching_options": matching, "verification_options": verification, "device": pycolmap.Device.cpu}
    if count <= EXHAUSTIVE:
        pycolmap.match_exhaustive(database, **shared)
        return
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap, pairing.quadratic_overlap, pairing.num_threads = OVERLAP, True, 1
    pycolmap.match_sequential(database, pairing_options=pairing, **shared)


def _written(model: Any, work: Path) -> dict[str, Any]:
    """Arrays into points.npz, the rest as JSON."""
    ids = sorted(model.points3D)
    index = {point: i for i, point in enumerate(ids)}
    arrays = {"points": np.array([model.points3D[i].xyz for i in ids]).reshape(-1, 3)}
    views: list[dict[str, Any]] = []
    for image in sorted((i for i in model.images.values() if i.has_pose), key=lambda i: i.name):
        camera = model.cameras[image.camera_id]
        seen = [index[p.point3D_id] for p in image.points2D if p.has_point3D()]
        arrays[f"seen_{len(views)}"] = np.unique(np.array(seen, dtype=np.int64))
        pose = [*np.asarray(image.cam_from_world().matrix()).tolist(), [0.0, 0.0, 0.0, 1.0]]
        params = {"model": camera.model.name, "params": [float(p) for p in camera.params]}
        views.append({"name": image.name, "T_camera_world": pose, **params})
    np.savez(work / "points.npz", **arrays)  # type: ignore[arg-type]
    return json.loads(json.dumps({"views": views, "error_px": float(model.compute_mean_reprojection_error())}))
