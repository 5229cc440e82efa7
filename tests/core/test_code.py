"""The key sees the code of a stage and what it imports, and the packages behind."""

from __future__ import annotations

import importlib
import sys

from blueprint.core.code import code_digests, tool_versions


def digests(folder, text):
    (folder / "made_up_stage.py").write_text(text)
    sys.modules.pop("made_up_stage", None)
    importlib.invalidate_caches()
    importlib.import_module("made_up_stage")
    for cached in (code_digests, tool_versions):
        cached.cache_clear()
    from blueprint.core import code

    code._closure.cache_clear()
    code._imports.cache_clear()
    return code_digests(("made_up_stage",)), tool_versions(("made_up_stage",))


def test_lazy_and_bracketed_imports_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    code, tools = digests(
        tmp_path,
        "from blueprint.model import (  # the data\n    scene,\n    task,\n)\n\n"
        "def lazy():\n    import cv2\n    import numpy as np\n",
    )
    assert {"made_up_stage", "blueprint.model.scene", "blueprint.model.task", "blueprint.model.spatial"} <= set(code)
    assert {"opencv-python-headless", "numpy"} <= set(tools)


def test_any_change_of_the_source_changes_the_digest(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    one, _ = digests(tmp_path, "x = 1\n")
    two, _ = digests(tmp_path, "x = 2\n")
    assert one["made_up_stage"] != two["made_up_stage"]


def test_engine_is_no_part_of_a_result(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _ = digests(tmp_path, "from blueprint.core.report import log\n")
    assert set(code) == {"made_up_stage"}
