"""What makes photographs metric: `anchors` of capture.json, and the metric_metadata.json of the earlier system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blueprint.core.errors import InputError
from blueprint.core.report import warn
from blueprint.formats.json_file import number, of, read_json
from blueprint.model.capture import ScaleAnchor

METADATA = ("metric_metadata.json", "layout/metric_metadata.json")
CLASS_HEIGHTS_M = {  # the earlier system's priors: usual heights of furniture, good to about 15 %
    "door": 2.0,
    "table": 0.75,
    "desk": 0.75,
    "chair": 1.0,
    "sofa": 0.9,
    "couch": 0.9,
    "cabinet": 1.8,
    "wardrobe": 1.8,
    "bookshelf": 1.8,
    "shelf": 1.8,
    "stool": 0.5,
    "coffee table": 0.45,
    "bed": 0.6,
}
HOW = (
    '{"type": "marker", "dictionary": "DICT_4X4_50", "size_m": 0.05}, '
    '{"type": "object", "name": "mug", "axis": "z", "size_m": 0.095}, '
    '{"type": "points", "frame": "000000", "pixels": [[10, 20], [300, 25]], "size_m": 0.21} or '
    '{"type": "class_prior", "name": "chair"}'
)


def read_anchors(folder: Path, file: Path, meta: dict[str, Any]) -> tuple[ScaleAnchor, ...]:
    """Those of `meta`, the content of `file`, then those of the earlier system's file, if it lies in `folder`."""
    entries = meta.get("anchors") or []
    if not isinstance(entries, list):
        raise InputError(f"{file}: anchors is {entries!r}", f"give a list of {HOW}")
    return (*(anchor(entry, f"{file}: anchors[{i}]") for i, entry in enumerate(entries)), *read_metadata(folder))


def anchor(entry: object, where: str) -> ScaleAnchor:
    """One anchor, checked: each type has what it needs. Raises InputError."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} is {entry!r}", f"an anchor is one of {HOW}")
    values = dict(entry)
    if values.get("type") == "class_prior":
        name = str(values.get("name", "")).strip().lower()
        if "size_m" not in values and name not in CLASS_HEIGHTS_M:
            known = ", ".join(CLASS_HEIGHTS_M)
            raise InputError(f"{where}: no usual height of {name!r} is known", f"known: {known}; or give size_m")
        values = {"axis": "z", "size_m": CLASS_HEIGHTS_M.get(name), **values}
    try:
        made = ScaleAnchor.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        raise InputError(f"{place}: {first['msg']}", f"an anchor is one of {HOW}") from None
    return checked(made, where)


def checked(made: ScaleAnchor, where: str) -> ScaleAnchor:
    """The same anchor. Raises InputError when it lacks what its type needs."""
    if made.type == "points" and (len(made.pixels) != 2 or not made.frame or made.pixels[0] == made.pixels[1]):
        raise InputError(
            f"{where}: points need a frame and two different pixels",
            '{"type": "points", "frame": "000000", "pixels": [[10, 20], [300, 25]], "size_m": 0.21}',
        )
    if made.type in ("object", "class_prior") and not made.name:
        raise InputError(f"{where}: an anchor of type {made.type} names nothing", 'add "name"')
    return made


def read_metadata(folder: Path) -> tuple[ScaleAnchor, ...]:
    """known_heights and reference_objects of metric_metadata.json; its other cues need its own layout and are left."""
    found: list[ScaleAnchor] = []
    for file in (folder / name for name in METADATA if (folder / name).is_file()):
        meta = read_json(file)
        for field in ("known_heights", "reference_objects"):
            entries = of(meta, field) or []
            for i, entry in enumerate(entries if isinstance(entries, list) else []):
                name = next((of(entry, k) for k in ("object_id", "name", "class_name", "category") if of(entry, k)), "")
                height = next((of(entry, k) for k in ("height_m", "size_m") if of(entry, k) is not None), None)
                size = number(height, f"{field}[{i}].height_m", file)
                values = {"type": "object", "name": str(name), "axis": "z", "size_m": size}
                found.append(anchor(values, f"{file}: {field}[{i}]"))
        if of(meta, "scale_factors"):
            warn(f"{file.name}: scale_factors multiply a layout that photographs do not have; they are not used")
    return tuple(found)
