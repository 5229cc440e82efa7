"""The capture folder: `capture.json` (schema capture/1) with rgb/, depth/, masks/ and boxes.json.

Reading gives a `RawCapture`: paths and numbers as the user wrote them, checked for shape; pictures stay unread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blueprint.core.errors import InputError
from blueprint.formats.anchors import read_anchors
from blueprint.formats.json_file import number, read_json
from blueprint.formats.json_file import of as _of
from blueprint.model.capture import ScaleAnchor, StereoPair, UserBox, UserName

Matrix = tuple[tuple[float, ...], ...]
KINDS = {  # as written -> what it is
    "rgbd": "rgbd",
    "rgbd_sequence": "rgbd",
    "rgb": "rgb",
    "rgb_single": "rgb",
    "rgb_multiview": "rgb",
    "stereo": "stereo",
}
MOST_FRAMES = 2000


@dataclass(frozen=True)
class RawCamera:
    """As given: size may be unknown (0) until a picture is read. dist: OpenCV order k1 k2 p1 p2 k3 ..."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int = 0
    height: int = 0
    dist: tuple[float, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class RawFrame:
    """depth None: a photograph; camera None: nothing says how it was taken (EXIF may)."""

    id: str
    color: Path
    depth: Path | None
    mask: Path | None
    camera: RawCamera | None
    T_world_camera: Matrix | None


@dataclass(frozen=True)
class RawCapture:
    """depth_unit: as the user names it, empty when nothing says so. licence, origin: as given, empty if not."""

    name: str
    kind: str
    frames: tuple[RawFrame, ...]
    depth_unit: str
    boxes: tuple[UserBox, ...] = ()
    names: tuple[UserName, ...] = ()
    stereo: StereoPair | None = None
    anchors: tuple[ScaleAnchor, ...] = ()
    licence: str = ""
    origin: str = ""


def kind_of(kind: str, frames: int) -> str:
    """`Capture.kind` of so many frames. kind: a value of `KINDS`"""
    many = {"rgbd": "rgbd_sequence", "rgb": "rgb_multiview", "stereo": "stereo"}
    return kind if frames == 1 else many[kind]


def read_capture(folder: Path) -> RawCapture:
    """Read a folder that holds `capture.json`. Raises InputError naming the file and the cure."""
    file = folder / "capture.json"
    meta = read_json(file)
    if not isinstance(meta, dict) or meta.get("schema", "capture/1") != "capture/1":
        raise InputError(f"{file} has schema {_of(meta, 'schema')!r}", 'this version reads "capture/1"')
    kind = str(meta.get("kind", "rgbd"))
    if kind not in KINDS:
        raise InputError(
            f"{file}: kind {kind!r} is not one that is read",
            f"kinds: {', '.join(KINDS)}",
        )
    frames = meta.get("frames")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{file} lists no frames", 'add "frames": [{"id", "rgb", "depth"}]; photographs need no depth')
    if len(frames) > MOST_FRAMES:
        raise InputError(f"{file} lists {len(frames)} frames; at most {MOST_FRAMES} are read", "choose key frames")
    kind = KINDS[kind]
    raw = tuple(_frame(folder, file, meta, entry, i, kind) for i, entry in enumerate(frames))
    stereo = None
    if kind == "stereo":
        raw, stereo = _stereo(folder, file, meta, raw)
    ids = [frame.id for frame in raw]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise InputError(f"{file}: frame ids appear twice: {', '.join(twice)}", "give every frame its own id")
    licence, origin = _source(folder, meta)
    return RawCapture(
        name=str(meta.get("name") or folder.name),
        kind=kind_of(kind, len(raw)),
        frames=raw,
        depth_unit=str(meta.get("depth_unit", "")),
        boxes=read_all_boxes(folder, ids),
        names=_names(file, meta),
        stereo=stereo,
        anchors=read_anchors(folder, file, meta),
        licence=str(meta.get("licence") or licence),  # what the capture says of itself comes first
        origin=str(meta.get("origin") or origin),
    )


def inside(folder: Path, relative: object, file: Path) -> Path:
    """A path named by the user's file, refused when it leaves the capture's folder."""
    if not isinstance(relative, str) or not relative or "\0" in relative:
        raise InputError(f"{file} names a file {relative!r}", "give a path relative to the capture's folder")
    root = folder.resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise InputError(f"{file} names {relative}, which lies outside the capture", "copy the file into the folder")
    if not path.is_file():
        raise InputError(f"{file} names {relative}, which does not exist", "copy it, or remove it from the list")
    return path


def read_boxes(file: Path, ids: list[str]) -> tuple[UserBox, ...]:
    """A file of schema boxes/1. Raises InputError for boxes without area, unknown frames and doubled labels."""
    meta = read_json(file)
    frame, entries = str(_of(meta, "frame") or (ids[0] if ids else "")), _of(meta, "boxes")
    if not isinstance(entries, list):
        raise InputError(f"{file} lists no boxes", 'see schema "boxes/1": frame, boxes[] {label, name, xyxy}')
    boxes: list[UserBox] = []
    for i, entry in enumerate(entries):
        where = f"boxes[{i}]"
        corners = _of(entry, "xyxy")
        if not isinstance(corners, list) or len(corners) != 4:
            raise InputError(f"{file}: {where}.xyxy is {corners!r}", "give x_min, y_min, x_max, y_max in pixels")
        x0, y0, x1, y1 = (number(c, f"{where}.xyxy", file) for c in corners)
        if x1 <= x0 or y1 <= y0:
            raise InputError(f"{file}: {where}.xyxy encloses nothing", "order it x_min, y_min, x_max, y_max")
        of = str(_of(entry, "frame") or frame)
        if of not in ids:
            raise InputError(f"{file}: {where} is drawn on frame {of!r}; there are: {', '.join(ids)}")
        label = int(number(_of(entry, "label") or i + 1, f"{where}.label", file))
        name = str(_of(entry, "name") or f"object {label}")
        boxes.append(UserBox(frame=of, label=label, name=name, xyxy=(x0, y0, x1, y1), file=file.name))
    marks = [(box.frame, box.label) for box in boxes]
    twice = sorted({label for mark in marks if marks.count(mark) > 1 for _, label in [mark]})
    if twice:
        raise InputError(f"{file}: labels used twice: {twice}", "give every object its own label")
    return tuple(boxes)


def read_all_boxes(folder: Path, ids: list[str]) -> tuple[UserBox, ...]:
    """The boxes of every file of schema boxes/1 that lies in the capture's folder."""
    boxes: list[UserBox] = []
    for file in sorted(folder.glob("*.json")):
        if file.name == "boxes.json" or _of(read_json(file), "schema") == "boxes/1":
            boxes += read_boxes(file, ids)
    return tuple(boxes)


def _frame(folder: Path, file: Path, meta: dict[str, Any], entry: object, index: int, kind: str) -> RawFrame:
    where = f"frames[{index}]"
    if not isinstance(entry, dict):
        raise InputError(f"{file}: {where} is {entry!r}", 'a frame is {"id", "rgb", "depth"}')
    if kind == "rgbd" and "depth" not in entry:
        raise InputError(
            f"{file}: {where} has no depth image",
            'every RGB-D frame names its depth file; photographs are kind "rgb_multiview", or "rgb" for a single one',
        )
    pose = entry.get("T_world_cam", entry.get("T_world_camera"))
    return RawFrame(
        id=frame_id(entry.get("id", f"{index:06d}"), f"{where}.id", file),
        color=inside(folder, entry.get("rgb", entry.get("color")), file),
        depth=inside(folder, entry["depth"], file) if kind == "rgbd" else None,  # beside photographs it is a reference
        mask=inside(folder, entry["mask"], file) if entry.get("mask") else None,
        camera=_camera(file, meta, entry, where, needed=kind != "rgb"),
        T_world_camera=None if pose is None else pose_rows(pose, f"{where}.T_world_cam", file),
    )


def frame_id(value: object, what: str, file: Path) -> str:
    """An id that is safe as a file name. Raises InputError."""
    text = str(value)
    if not text or len(text) > 100 or not all(c.isalnum() or c in "._-" for c in text) or text.startswith("."):
        raise InputError(f"{file}: {what} is {text!r}", "use letters, digits, dots, dashes and underscores")
    return text


def _stereo(
    folder: Path, file: Path, meta: dict[str, Any], frames: tuple[RawFrame, ...]
) -> tuple[tuple[RawFrame, ...], StereoPair]:
    """The left and the right frame, written as one frame with `rgb_right` or as two, and the pair's numbers."""
    given = meta.get("stereo")
    baseline = _of(given, "baseline_m")
    if baseline is None:
        raise InputError(
            f"{file}: a stereo pair without a baseline",
            'add "stereo": {"baseline_m": 0.12, "doffs_px": 0}: the distance between the two cameras, in metres',
        )
    baseline_m = number(baseline, "stereo.baseline_m", file)
    doffs = number(_of(given, "doffs_px") or _of(given, "doffs") or 0.0, "stereo.doffs_px", file)
    if not 0 < baseline_m < 5:
        raise InputError(f"{file}: stereo.baseline_m is {baseline_m:g}", "give metres, the left camera first")
    other = _of(meta["frames"][0], "rgb_right")
    if len(frames) == 1 and other is not None:
        left = frames[0]
        assert left.camera is not None  # a stereo frame is refused without one
        right = RawFrame(
            id=f"{left.id}_right",
            color=inside(folder, other, file),
            depth=None,
            mask=None,
            camera=replace(left.camera, cx=left.camera.cx + doffs),
            T_world_camera=None,
        )
        frames = (left, right)
    if len(frames) != 2:
        raise InputError(
            f"{file}: a stereo capture has {len(frames)} pictures", 'give one frame with "rgb" and "rgb_right"'
        )
    return frames, StereoPair(left=frames[0].id, right=frames[1].id, baseline_m=baseline_m, doffs=doffs)


def _camera(file: Path, meta: dict[str, Any], entry: dict[str, Any], where: str, *, needed: bool) -> RawCamera | None:
    """A frame's own `camera` or `K` comes before the capture's. None: not given and not `needed`"""
    shared = meta.get("camera") if isinstance(meta.get("camera"), dict) else {}
    own = entry.get("camera") if isinstance(entry.get("camera"), dict) else {}
    values: dict[str, Any] = {**shared, **own}  # type: ignore[dict-item]
    if "K" in entry:
        values = {**values, **matrix_values(entry["K"], f"{where}.K", file)}
    if not values and not needed:
        return None
    return camera_values(values, f"camera of {where}", file)


def camera_values(values: dict[str, Any], what: str, file: Path) -> RawCamera:
    """fx, fy, cx, cy (or a 3x3 K), and optionally width, height, dist. Raises InputError when one is missing."""
    if "K" in values and "fx" not in values:
        values = {**values, **matrix_values(values["K"], f"{what}.K", file)}
    missing = [key for key in ("fx", "fy", "cx", "cy") if values.get(key) is None]
    if missing:
        raise InputError(
            f"{file}: {what} lacks {', '.join(missing)}",
            "the sensor's driver publishes them (ROS: camera_info); without them nothing can be measured",
        )
    model = str(values.get("model") or "PINHOLE").upper()
    if "FISHEYE" in model or "KANNALA" in model or "EQUIDISTANT" in model:
        raise InputError(
            f"{file}: camera model {model} is not read", "undistort the pictures to a pinhole camera first"
        )
    dist = values.get("dist") or ()
    if not isinstance(dist, list | tuple):
        raise InputError(
            f"{file}: {what}.dist is {dist!r}", "list the coefficients in OpenCV's order: k1, k2, p1, p2, k3"
        )
    return RawCamera(
        fx=number(values["fx"], f"{what}.fx", file),
        fy=number(values["fy"], f"{what}.fy", file),
        cx=number(values["cx"], f"{what}.cx", file),
        cy=number(values["cy"], f"{what}.cy", file),
        width=int(number(values.get("width") or 0, f"{what}.width", file)),
        height=int(number(values.get("height") or 0, f"{what}.height", file)),
        dist=tuple(number(d, f"{what}.dist", file) for d in dist),
        source=str(values.get("source") or file.name),
    )


def matrix_values(value: object, what: str, file: Path) -> dict[str, float]:
    """fx, fy, cx, cy of a 3x3 camera matrix, nested or flat row by row."""
    flat = [x for row in value for x in (row if isinstance(row, list) else [row])] if isinstance(value, list) else []
    if len(flat) != 9:
        raise InputError(f"{file}: {what} is no 3x3 matrix", "write it row by row: [[fx,0,cx],[0,fy,cy],[0,0,1]]")
    m = [number(x, what, file) for x in flat]
    return {"fx": m[0], "fy": m[4], "cx": m[2], "cy": m[5]}


def pose_rows(value: object, what: str, file: Path) -> Matrix:
    """A 4x4 matrix as rows. Raises InputError when it is not rigid."""
    if not isinstance(value, list) or len(value) != 4 or any(not isinstance(r, list) or len(r) != 4 for r in value):
        raise InputError(f"{file}: {what} is no 4x4 matrix", "write T_world_cam row by row")
    rows = tuple(tuple(number(x, what, file) for x in row) for row in value)
    r = [row[:3] for row in rows[:3]]
    dots = [sum(r[k][i] * r[k][j] for k in range(3)) - (i == j) for i in range(3) for j in range(3)]
    det = (
        r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1])
        - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0])
        + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0])
    )
    if max(map(abs, dots)) > 1e-2 or det < 0 or rows[3] != (0.0, 0.0, 0.0, 1.0):
        raise InputError(
            f"{file}: {what} is no rigid transform (rotation with determinant +1, last row 0 0 0 1)",
            "T_world_cam maps camera points into the world, in metres, without scale or mirror",
        )
    return rows


def _names(file: Path, meta: dict[str, Any]) -> tuple[UserName, ...]:
    """Names of mask labels; sizes that may stand beside them are measurements to test against and are not read."""
    objects = _of(meta.get("gt"), "objects") or meta.get("objects") or []
    names: dict[int, str] = {}
    for i, entry in enumerate(objects if isinstance(objects, list) else []):
        label, name = _of(entry, "label"), _of(entry, "name")
        if label is not None and name:
            names[int(number(label, f"objects[{i}].label", file))] = str(name)
    return tuple(UserName(label=label, name=names[label]) for label in sorted(names))


def _source(folder: Path, meta: dict[str, Any]) -> tuple[str, str]:
    """(licence, origin) of capture.json, else of the lines of SOURCE.md that begin with these words (or repository)."""
    file = folder / "SOURCE.md"
    said: dict[str, str] = {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    for line in lines:
        key, colon, value = line.strip(" -*#").partition(":")
        if colon:
            said.setdefault(key.strip().lower(), value.strip())
    licence = str(meta.get("licence") or said.get("licence") or said.get("license") or "")
    origin = str(meta.get("origin") or said.get("origin") or said.get("repository") or "")
    origin = origin or next((line.strip(" -*#") for line in lines if "http" in line), "")
    return licence[:300], origin[:300]
