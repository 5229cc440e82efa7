"""Laws of reading capture.json: whatever stands in it, the answer is a capture or an InputError."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.core.errors import InputError
from blueprint.formats.capture import RawCapture, read_capture
from toy_table import shoot, write_capture

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 700) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    ("schema",),
    ("kind",),
    ("camera",),
    ("camera", "fx"),
    ("camera", "dist"),
    ("camera", "width"),
    ("frames",),
    ("frames", 0),
    ("frames", 0, "id"),
    ("frames", 0, "rgb"),
    ("frames", 0, "depth"),
    ("frames", 0, "mask"),
    ("frames", 0, "K"),
    ("frames", 0, "T_world_cam"),
    ("gt",),
    ("gt", "objects"),
    ("gt", "objects", 0),
    ("gt", "objects", 0, "label"),
    ("depth_unit",),
    ("origin",),
    ("anchors",),
    ("anchors", 0),
    ("anchors", 0, "type"),
    ("anchors", 0, "size_m"),
    ("anchors", 0, "pixels"),
    ("anchors", 0, "name"),
    ("stereo",),
    ("stereo", "baseline_m"),
    ("stereo", "doffs_px"),
    ("frames", 0, "rgb_right"),
)


@settings(max_examples=120, deadline=None)
@given(field=st.sampled_from(FIELDS), value=JSON, kind=st.sampled_from(("rgbd", "rgb", "stereo")))
def test_any_value_in_any_field_is_read_or_refused(field: tuple, value: object, kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(Path(name))
        meta = json.loads((folder / "capture.json").read_text())
        meta |= {"kind": kind, "stereo": {"baseline_m": 0.1, "doffs_px": 0}}
        meta["anchors"] = [{"type": "class_prior", "name": "chair"}]
        meta["frames"][0]["rgb_right"] = "rgb/000000.png"
        inner = meta
        for key in field[:-1]:
            inner = inner[key]
        inner[field[-1]] = value
        (folder / "capture.json").write_text(json.dumps(meta))
        try:
            assert isinstance(read_capture(folder), RawCapture)
        except InputError as error:
            assert error.message


@settings(max_examples=60, deadline=None)
@given(value=JSON, field=st.sampled_from(("frame", "boxes", "label", "xyxy", "name")))
def test_any_box_file_is_read_or_refused(value: object, field: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(Path(name))
        box = {"label": 1, "name": "x", "xyxy": [1, 2, 30, 40]}
        meta = {"schema": "boxes/1", "frame": "000000", "boxes": [box]}
        (box if field in box else meta)[field] = value
        (folder / "boxes.json").write_text(json.dumps(meta))
        try:
            assert all(b.file == "boxes.json" for b in read_capture(folder).boxes)
        except InputError as error:
            assert error.message


_SHOT = shoot()


def _folder(folder: Path) -> Path:
    """Pictures are named, not read: empty files do."""
    for kind in ("rgb", "depth", "masks"):
        (folder / kind).mkdir()
        (folder / kind / "000000.png").touch()
    if not _TEXT:
        with tempfile.TemporaryDirectory() as name:
            _TEXT.append((write_capture(Path(name) / "toy", _SHOT) / "capture.json").read_text())
    (folder / "capture.json").write_text(_TEXT[0])
    return folder


_TEXT: list[str] = []
