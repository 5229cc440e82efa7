"""Capture: read what the user has, check it, and write it as undistorted metric pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.artifact import Config
from blueprint.core.errors import InputError
from blueprint.core.report import progress, warn
from blueprint.core.stage import stage
from blueprint.formats import images
from blueprint.formats.anchors import checked
from blueprint.formats.archive import unpack
from blueprint.formats.capture import RawCamera, RawCapture, RawFrame, read_capture
from blueprint.formats.folder import Hints, read_folder
from blueprint.geometry.units import DepthUnit, infer_unit, parse_unit
from blueprint.model.artifacts import Capture, Source
from blueprint.model.capture import Camera, Frame, ScaleAnchor
from blueprint.model.spatial import Matrix4
from blueprint.stages.capture_scene import capture_scene, is_scene

DEPTH_RANGE_M = (0.05, 20.0)  # a median depth outside is a wrong unit
FARTHEST_M = 100.0  # single readings beyond are sensor codes for "too far", not measurements
USUAL_FOCAL = 1.2  # of the longer side; COLMAP's default for photographs without EXIF
LEAST_VALID = 0.02  # share of pixels that must carry depth


class CaptureConfig(Config):
    """depth_unit: m, cm, mm, 0.1mm or metres per count; empty = what the capture says. fx..cy [px], dist (OpenCV
    order): used where the capture does not give them. name: of the scene; empty = the capture's own.
    anchors: what makes photographs metric; in addition to the capture's"""

    depth_unit: str = ""
    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    dist: tuple[float, ...] = ()
    name: str = ""
    anchors: tuple[ScaleAnchor, ...] = ()


@stage(version="2")
def capture(source: Source, cfg: CaptureConfig, out: Path) -> Capture:
    """Raises InputError naming the file and the cure for anything that cannot be measured with."""
    location = Path(source.location)
    if location.is_dir() or is_scene(location):
        return _read(location, cfg, out)
    if not location.is_file():
        raise InputError(f"{location} does not exist", "name a capture's folder or zip file")
    with tempfile.TemporaryDirectory() as folder:
        return _read(unpack(location, Path(folder)), cfg, out)


def _read(folder: Path, cfg: CaptureConfig, out: Path) -> Capture:
    """Whatever lies there, by what it is."""
    if is_scene(folder):
        return capture_scene(folder, cfg.name, cfg.anchors, out)
    if (folder / "capture.json").is_file():
        return _normalise(read_capture(folder), cfg, out)
    return _normalise(read_folder(folder, Hints(cfg.fx, cfg.fy, cfg.cx, cfg.cy, cfg.dist)), cfg, out)


def _normalise(raw: RawCapture, cfg: CaptureConfig, out: Path) -> Capture:
    posed = [frame.T_world_camera is not None for frame in raw.frames]
    if any(posed) and not all(posed):
        lacking = ", ".join(f.id for f in raw.frames if f.T_world_camera is None)
        raise InputError(f"frames without a pose in a posed sequence: {lacking}", "give all frames a pose, or none")
    anchors = (*raw.anchors, *(checked(a, f"capture.anchors[{i}]") for i, a in enumerate(cfg.anchors)))
    absent = [a.frame for a in anchors if a.frame and a.frame not in {f.id for f in raw.frames}]
    if absent:
        known = ", ".join(f.id for f in raw.frames)
        raise InputError(f"a scale anchor names frame {absent[0]!r}", f"frames of this capture: {known}")
    unit = _unit(raw, cfg)
    frames = [_frame(frame, unit, out) for frame in progress(raw.frames, len(raw.frames), "capture: frames")]
    return Capture(
        name=cfg.name or raw.name,
        kind=raw.kind,  # type: ignore[arg-type]
        frames=tuple(frames),
        stereo=raw.stereo,
        anchors=anchors,
        boxes=raw.boxes,
        names=raw.names,
        licence=raw.licence,
        origin=raw.origin,
    )


def _unit(raw: RawCapture, cfg: CaptureConfig) -> DepthUnit:
    """The settings' word, else the capture's, else what the numbers can only mean."""
    first = raw.frames[0].depth
    if first is None:
        return parse_unit("m")  # photographs have none
    if cfg.depth_unit or raw.depth_unit:
        return parse_unit(cfg.depth_unit or raw.depth_unit)
    unit = infer_unit(images.read_depth(first), str(first))
    warn(f"depth unit not given; {first.name} can only be {unit.name}", cure="set capture.depth_unit")
    return unit


def _frame(raw: RawFrame, unit: DepthUnit, out: Path) -> Frame:
    color = images.read_color(raw.color) if raw.depth else images.read_photo(raw.color)
    height, width = color.shape[:2]
    given, intrinsics = (raw.camera, "given") if raw.camera else _photo_camera(raw.color, width, height)
    camera = check_camera(given, width, height, raw.color)
    depth = None
    if raw.depth:
        values = images.read_depth(raw.depth)
        _same_size(raw.color, raw.depth, (width, height), (values.shape[1], values.shape[0]))
        depth = check_depth(values, unit, raw.depth)
    mask = images.read_labels(raw.mask) if raw.mask else None
    if mask is not None and raw.mask:
        _same_size(raw.color, raw.mask, (width, height), (mask.shape[1], mask.shape[0]))
    if any(given.dist):
        color, depth, mask = _undistort(color, depth, mask, camera, given.dist, raw.color)
    images.write_color(out / "color" / f"{raw.id}.png", color)
    if depth is not None:
        images.write_depth(out / "depth" / f"{raw.id}.npy", depth)
    if mask is not None:
        images.write_labels(out / "masks" / f"{raw.id}.png", mask)
    return Frame(
        id=raw.id,
        color=f"color/{raw.id}.png",
        depth=None if depth is None else f"depth/{raw.id}.npy",
        mask=None if mask is None else f"masks/{raw.id}.png",
        camera=camera,
        T_world_camera=_matrix4(raw.T_world_camera),
        intrinsics=intrinsics,  # type: ignore[arg-type]
    )


def _photo_camera(photo: Path, width: int, height: int) -> tuple[RawCamera, str]:
    """What EXIF says, else a usual lens, each marked as such: structure from motion refines both."""
    focal = images.exif_focal(photo)
    longest = max(width, height)
    if focal is not None and 0.3 * longest < focal < 15 * longest:
        return RawCamera(focal, focal, width / 2, height / 2, source=f"EXIF of {photo.name}"), "exif"
    usual = USUAL_FOCAL * longest
    return RawCamera(usual, usual, width / 2, height / 2, source="a usual lens"), "guessed"


def _matrix4(rows: tuple[tuple[float, ...], ...] | None) -> Matrix4 | None:
    return None if rows is None else tuple(tuple(row) for row in rows)  # type: ignore[return-value]


def _same_size(color: Path, other: Path, size: tuple[int, int], other_size: tuple[int, int]) -> None:
    if size != other_size:
        raise InputError(
            f"{other} is {other_size[0]}x{other_size[1]}, but {color} is {size[0]}x{size[1]}",
            "register depth to colour so that pixels match (most drivers call it aligned depth)",
        )


def check_camera(raw: RawCamera, width: int, height: int, picture: Path) -> Camera:
    """Raises InputError for intrinsics that no camera of this picture can have."""
    if raw.width and raw.height and (raw.width, raw.height) != (width, height):
        raise InputError(
            f"{raw.source}: the camera is {raw.width}x{raw.height}, but {picture} is {width}x{height}",
            "give the intrinsics of the stored pictures (scale fx, fy, cx, cy by the same factor)",
        )
    if raw.fx <= 0 or raw.fy <= 0:
        raise InputError(f"{raw.source}: focal length {raw.fx}, {raw.fy} px is not positive", "fx and fy are in pixels")
    span = max(width, height)
    if not (0.2 * span < raw.fx < 20 * span and 0.2 * span < raw.fy < 20 * span):
        raise InputError(
            f"{raw.source}: focal length {raw.fx}, {raw.fy} px cannot belong to a {width}x{height} picture",
            "fx and fy are in pixels, not millimetres; a depth camera has about the picture's width",
        )
    if not 0.8 < raw.fx / raw.fy < 1.25:
        raise InputError(
            f"{raw.source}: fx {raw.fx} and fy {raw.fy} differ by more than 25 %; pixels are square",
            "check the order of the numbers: fx, fy, cx, cy",
        )
    if not (0 < raw.cx < width and 0 < raw.cy < height):
        raise InputError(
            f"{raw.source}: principal point ({raw.cx}, {raw.cy}) lies outside the {width}x{height} picture",
            "cx and cy are in pixels, usually near the middle; check their order",
        )
    return Camera(width=width, height=height, fx=raw.fx, fy=raw.fy, cx=raw.cx, cy=raw.cy)


def check_depth(values: NDArray[np.generic], unit: DepthUnit, file: Path) -> NDArray[np.float32]:
    """(H, W) float32 [m], 0 = none. Raises InputError for NaN, negative, empty depth and a wrong unit."""
    numbers = values.astype(np.float64)
    if np.isnan(numbers).any():
        raise InputError(
            f"{file} has {int(np.isnan(numbers).sum())} NaN readings", "store pixels without a reading as 0"
        )
    if (numbers < 0).any():
        raise InputError(f"{file} has negative readings", "depth is a distance; store pixels without a reading as 0")
    depth = numbers * unit.metres
    depth[~np.isfinite(depth) | (values == _too_far(values))] = 0
    valid = depth > 0
    if valid.mean() < LEAST_VALID:
        raise InputError(
            f"{file} is empty: {100 * valid.mean():.1f} % of its pixels carry depth",
            "the sensor may have been too close (below about 0.2 m), blinded by sunlight, or the stream not started",
        )
    median = float(np.median(depth[valid]))
    if not DEPTH_RANGE_M[0] <= median <= DEPTH_RANGE_M[1]:
        raise InputError(
            f"{file}: median depth is {median:g} m when read as {unit.name}; nothing on a table is that far or near",
            f"it looks like {_likely(float(np.median(numbers[valid])))}: set capture.depth_unit",
        )
    depth[depth > FARTHEST_M] = 0
    return depth.astype(np.float32)


def _too_far(values: NDArray[np.generic]) -> float:
    """The largest integer is a code of many drivers for "no reading"."""
    return float(2 ** (8 * values.dtype.itemsize) - 1) if values.dtype.kind == "u" else float("inf")


def _likely(median: float) -> str:
    for name, metres in (("metres (m)", 1.0), ("millimetres (mm)", 1e-3), ("tenths of a millimetre (0.1mm)", 1e-4)):
        if 0.2 <= median * metres <= 5.0:
            return name
    return "another unit"


def _undistort(
    color: NDArray[np.uint8],
    depth: NDArray[np.float32] | None,
    mask: NDArray[np.uint16] | None,
    camera: Camera,
    dist: tuple[float, ...],
    file: Path,
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, NDArray[np.uint16] | None]:
    """Resample to the pinhole camera of the same intrinsics; depth and labels keep their nearest value."""
    if len(dist) not in (4, 5, 8, 12, 14):
        raise InputError(f"{file}: {len(dist)} distortion coefficients", "OpenCV's model has 4, 5, 8, 12 or 14")
    K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    size = (camera.width, camera.height)
    map_u, map_v = cv2.initUndistortRectifyMap(K, np.array(dist), np.eye(3), K, size, cv2.CV_32FC1)
    smooth = cv2.remap(color, map_u, map_v, cv2.INTER_LINEAR)
    near = None if depth is None else cv2.remap(depth, map_u, map_v, cv2.INTER_NEAREST).astype(np.float32)
    labels = None if mask is None else cv2.remap(mask, map_u, map_v, cv2.INTER_NEAREST).astype(np.uint16)
    return smooth.astype(np.uint8), near, labels
