"""A folder of what people have: colour and depth pictures side by side, and intrinsics in some file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.core.errors import InputError
from blueprint.formats.anchors import read_anchors
from blueprint.formats.capture import (
    MOST_FRAMES,
    RawCamera,
    RawCapture,
    RawFrame,
    camera_values,
    frame_id,
    kind_of,
    pose_rows,
    read_all_boxes,
)
from blueprint.formats.images import COLOR_SUFFIXES, DEPTH_SUFFIXES
from blueprint.formats.json_file import number, read_json

LEAST_PHOTOS, MOST_PHOTOS = 5, 100
COLOR_WORDS = ("color", "colour", "rgb", "image", "img", "left")
DEPTH_WORDS = ("depth", "aligned_depth", "depths")
MASK_WORDS = ("mask", "masks", "label", "labels", "seg")
CAMERA_FILES = ("intrinsics.json", "camera.json", "camera_info.json", "camera_intrinsic.json", "intrinsic.json")
CAMERA_INFO = ("camera_info.yaml", "camera_info.yml", "camera.yaml", "camera.yml", "intrinsics.yaml", "intrinsics.yml")


@dataclass(frozen=True)
class Hints:
    """Intrinsics from the settings, used when the folder has none."""

    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    dist: tuple[float, ...] = ()


def read_folder(folder: Path, hints: Hints) -> RawCapture:
    """Pair colour with depth pictures by name, else by order. Raises InputError that says what was looked for."""
    color, depth, masks = _sorted_by_role(folder)
    if not depth and (photos := _photographs(folder)):
        return _read_photographs(folder, photos, hints)
    if not color or not depth:
        lacking = "colour" if not color else "depth"
        raise InputError(
            f"{folder} holds no {lacking} pictures (found {len(color)} colour, {len(depth)} depth)",
            "name them so: color_0.png and depth_0.png, or folders rgb/ and depth/, or write a capture.json; "
            f"photographs without depth: 1, or {LEAST_PHOTOS} to {MOST_PHOTOS} from all sides",
        )
    pairs = _pair(color, depth, folder)
    if len(pairs) > MOST_FRAMES:
        raise InputError(f"{folder} holds {len(pairs)} frames; at most {MOST_FRAMES} are read", "choose key frames")
    camera, unit = _find_camera(folder, hints)
    poses = _find_poses(folder, len(pairs))
    mask_of = {_key(p): p for p in masks}
    frames = tuple(
        RawFrame(
            id=frame_id(key or f"{i:06d}", "file name", c),
            color=c,
            depth=d,
            mask=mask_of.get(key) or (masks[0] if len(masks) == len(pairs) == 1 else None),
            camera=camera,
            T_world_camera=poses[i] if poses else None,
        )
        for i, (key, c, d) in enumerate(pairs)
    )
    ids = [f.id for f in frames]
    return RawCapture(
        name=_name(folder),
        kind=kind_of("rgbd", len(frames)),
        frames=frames,
        depth_unit=unit,
        boxes=read_all_boxes(folder, ids),
    )


def _photographs(folder: Path) -> list[Path]:
    """Colour pictures in the folder or in a subfolder, in natural order; links that leave it are refused before."""
    found = [p for p in folder.rglob("*") if p.suffix.lower() in COLOR_SUFFIXES and not p.name.startswith(".")]
    found = [p for p in found if p.is_file() and p.resolve().is_relative_to(folder.resolve())]
    return sorted(found, key=lambda p: _natural(str(p.relative_to(folder))))


def _read_photographs(folder: Path, photos: list[Path], hints: Hints) -> RawCapture:
    """A capture without depth. The camera may be unknown: EXIF says it, or it is guessed and refined."""
    if len(photos) > MOST_PHOTOS:
        raise InputError(
            f"{folder} holds {len(photos)} photographs; at most {MOST_PHOTOS} are read", "choose the sharpest 20 to 50"
        )
    if 1 < len(photos) < LEAST_PHOTOS:
        raise InputError(
            f"{folder} holds {len(photos)} photographs; structure from motion needs at least {LEAST_PHOTOS}",
            "walk round the objects: 10 to 30 pictures, about 10 degrees apart, most of each seen in the next",
        )
    camera = None
    if None not in (hints.fx, hints.fy, hints.cx, hints.cy) or any(
        (folder / name).is_file() for name in CAMERA_FILES + CAMERA_INFO
    ):
        camera, _ = _find_camera(folder, hints)
    stems = [re.sub(r"[^A-Za-z0-9._-]+", "_", p.stem).strip("._") for p in photos]
    ids = stems if len(set(stems)) == len(stems) and all(stems) else [f"{i:06d}" for i in range(len(photos))]
    frames = tuple(
        RawFrame(id=frame_id(name, "file name", p), color=p, depth=None, mask=None, camera=camera, T_world_camera=None)
        for name, p in zip(ids, photos, strict=True)
    )
    return RawCapture(
        name=_name(folder),
        kind=kind_of("rgb", len(frames)),
        frames=frames,
        depth_unit="",
        boxes=read_all_boxes(folder, ids),
        anchors=read_anchors(folder, folder / "anchors.json", _anchor_file(folder)),
    )


def _anchor_file(folder: Path) -> dict[str, Any]:
    """anchors.json beside the photographs: {"anchors": [...]} or the list itself."""
    file = folder / "anchors.json"
    meta = read_json(file) if file.is_file() else {}
    return meta if isinstance(meta, dict) else {"anchors": meta}


def _name(folder: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", folder.name) or "capture"


def _sorted_by_role(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """(colour, depth, mask) pictures in natural order, by words in their folder's or their own name."""
    color: list[Path] = []
    depth: list[Path] = []
    masks: list[Path] = []
    root = folder.resolve()
    for path in sorted(folder.rglob("*"), key=lambda p: _natural(str(p.relative_to(folder)))):
        suffix = path.suffix.lower()
        if not path.is_file() or suffix not in COLOR_SUFFIXES + DEPTH_SUFFIXES or path.name.startswith("."):
            continue
        if not path.resolve().is_relative_to(root):
            raise InputError(f"{path} is a link that leaves the capture", "copy the file into the folder")
        words = set(re.split(r"[^a-z]+", str(path.relative_to(folder).with_suffix("")).lower()))
        if words & set(MASK_WORDS):
            masks.append(path)
        elif words & set(DEPTH_WORDS):
            if suffix in DEPTH_SUFFIXES:
                depth.append(path)
        elif suffix in COLOR_SUFFIXES and (words & set(COLOR_WORDS) or path.parent == folder):
            color.append(path)
    return color, depth, masks


def _pair(color: list[Path], depth: list[Path], folder: Path) -> list[tuple[str, Path, Path]]:
    by_key = {_key(p): p for p in depth}
    if (
        len(by_key) == len(depth)
        and all(_key(c) in by_key for c in color)
        and len({_key(c) for c in color}) == len(color)
    ):
        return [(_key(c), c, by_key[_key(c)]) for c in color]
    if len(color) == len(depth):
        return [("", c, d) for c, d in zip(color, depth, strict=True)]
    raise InputError(
        f"{folder} holds {len(color)} colour and {len(depth)} depth pictures that do not pair by name",
        "give both the same number or stem (color_0001.png, depth_0001.png), or write a capture.json",
    )


def _key(path: Path) -> str:
    """What remains of a file's name without the words that tell its role: `color_0007` -> `0007`."""
    words = re.split(r"[^a-zA-Z0-9]+", path.stem)
    roles = {*COLOR_WORDS, *DEPTH_WORDS, *MASK_WORDS, "aligned", "to", "raw", "frame"}
    kept = [re.sub(r"^(rgb|color|colour|depth|mask)(?=\d)", "", w) for w in words if w.lower() not in roles]
    return "_".join(w for w in kept if w)


def _natural(text: str) -> list[tuple[int, int, str]]:
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", text) if p]


def _find_camera(folder: Path, hints: Hints) -> tuple[RawCamera, str]:
    """(camera, depth unit); the settings' numbers come first, since who types them means them."""
    if None not in (hints.fx, hints.fy, hints.cx, hints.cy):
        values: dict[str, Any] = {"fx": hints.fx, "fy": hints.fy, "cx": hints.cx, "cy": hints.cy, "dist": hints.dist}
        return camera_values({**values, "source": "settings"}, "capture", folder), ""
    for name in CAMERA_FILES + CAMERA_INFO:
        for file in (folder / name, folder / "camera" / name, folder / "rgb" / name, folder / "color" / name):
            if file.is_file():
                meta = read_camera_info(file) if file.suffix in (".yaml", ".yml") else read_json(file)
                values = _camera_fields(meta, file)
                return camera_values(values, "camera", file), _unit_of(meta, file)
    raise InputError(
        f"{folder} says nothing about its camera: looked for {', '.join(CAMERA_FILES + CAMERA_INFO)}",
        'write intrinsics.json: {"fx": 615.0, "fy": 615.0, "cx": 320.0, "cy": 240.0}, or --set capture.fx=... '
        "capture.fy=... capture.cx=... capture.cy=...",
    )


def _camera_fields(meta: Any, file: Path) -> dict[str, Any]:
    """fx.. from {fx, fy, cx|ppx, cy|ppy}, {K}, {camera_matrix}, {intrinsic_matrix} (column-major), or camera_info."""
    if isinstance(meta, list):
        return {"K": meta}
    if not isinstance(meta, dict):
        raise InputError(f"{file} holds no camera", 'write {"fx", "fy", "cx", "cy"}')
    for inner in ("camera", "color", "rgb", "intrinsics", "depth_intrinsics"):
        if isinstance(meta.get(inner), dict):
            meta = meta[inner]
    values = dict(meta)
    for other, name in (("ppx", "cx"), ("ppy", "cy"), ("f_x", "fx"), ("f_y", "fy"), ("c_x", "cx"), ("c_y", "cy")):
        if other in values:
            values.setdefault(name, values[other])
    for key in ("K", "k", "camera_matrix", "intrinsics", "intrinsic", "matrix"):
        matrix = values.get(key)
        matrix = matrix.get("data") if isinstance(matrix, dict) else matrix
        if isinstance(matrix, list):
            values["K"] = matrix
            break
    if isinstance(values.get("intrinsic_matrix"), list) and "K" not in values:
        flat = values["intrinsic_matrix"]  # Open3D stores it column by column
        values["K"] = [flat[i + 3 * j] for i in range(3) for j in range(3)] if len(flat) == 9 else flat
    for key in ("distortion_coefficients", "D", "d", "coeffs", "distortion"):
        dist = values.get(key)
        dist = dist.get("data") if isinstance(dist, dict) else dist
        if isinstance(dist, list) and "dist" not in values:
            values["dist"] = dist
    model = str(values.get("distortion_model", values.get("model", "")))
    values["model"] = model or "PINHOLE"
    values.setdefault("width", values.get("image_width"))
    values.setdefault("height", values.get("image_height"))
    return {k: values[k] for k in ("fx", "fy", "cx", "cy", "K", "dist", "width", "height", "model") if values.get(k)}


def _unit_of(meta: Any, file: Path) -> str:
    if not isinstance(meta, dict):
        return ""
    if meta.get("depth_unit"):
        return str(meta["depth_unit"])
    scale = meta.get("depth_scale")
    if scale is None:
        return ""
    value = number(scale, "depth_scale", file)
    # Metres per count for RealSense (0.001), counts per metre elsewhere (1000): no one mixes the two ranges up.
    return repr(value) if value <= 1 else f"1/{value:g}"


def read_camera_info(file: Path) -> dict[str, Any]:
    """The numbers of a ROS camera_info YAML: `key: value`, `key: [..]` and `key:` with an indented `data: [..]`.

    A full YAML reader would be a dependency for six lines; anything else in the file is passed over.
    """
    text = re.sub(r"\n\s+(?=[-+\d.\]])", " ", file.read_text(encoding="utf-8", errors="replace"))
    meta: dict[str, Any] = {}
    outer = ""
    for line in text.splitlines():
        match = re.match(r"^(\s*)([A-Za-z_]\w*)\s*:\s*(.*?)\s*$", line)
        if not match:
            continue
        indent, key, value = match.groups()
        if not value:
            outer = key
        elif value.startswith("["):
            numbers = [_float(x, file) for x in value.strip("[]").split(",") if x.strip()]
            if key == "data" and indent:
                meta[outer] = numbers
            else:
                meta[key] = numbers
        elif not indent:
            meta[key] = _plain(value)
    return meta


def _float(text: str, file: Path) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{file} holds {text.strip()!r} where a number is due", "export camera_info again") from error


def _plain(value: str) -> Any:
    value = value.strip("'\"")
    try:
        return float(value)
    except ValueError:
        return value


def _find_poses(folder: Path, frames: int) -> list[Any]:
    """poses.json: a list of 4x4 T_world_camera in the order of the frames, if there is one."""
    file = folder / "poses.json"
    if not file.is_file():
        return []
    meta = read_json(file)
    poses = meta.get("poses", meta.get("T_world_camera")) if isinstance(meta, dict) else meta
    if not isinstance(poses, list) or len(poses) != frames:
        raise InputError(f"{file} lists {len(poses) if isinstance(poses, list) else 'no'} poses for {frames} frames")
    return [pose_rows(pose, f"poses[{i}]", file) for i, pose in enumerate(poses)]
