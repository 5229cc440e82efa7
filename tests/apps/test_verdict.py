"""A result that exists but does not hold is a failure."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from blueprint.apps.verdict import require_sound
from blueprint.core.errors import InfeasibleError


def step(folder, stage, artifact):
    (folder / "artifact.json").write_text(json.dumps(artifact))
    return SimpleNamespace(stage=SimpleNamespace(name=stage), root=folder)


def settle(passed):
    moved = {"max_drift_m": 0.02, "max_drift_deg": 1.0, "max_penetration_m": 0.0}
    return {"settle": {"passed": passed, "seconds": 5.0} | moved}


def test_scene_that_moves_is_refused(tmp_path):
    with pytest.raises(InfeasibleError, match=r"objects move 20\.0 mm"):
        require_sound([step(tmp_path, "physics", settle(False))])
    require_sound([step(tmp_path, "physics", settle(True))])


def test_unsuitable_data_is_refused_with_its_reasons(tmp_path):
    certificate = {"training_suitability": "unsuitable", "reasons": ["no episode"], "sensor_source": "mujoco"}
    with pytest.raises(InfeasibleError, match="no episode"):
        require_sound([step(tmp_path, "certificate", certificate)])
    require_sound([step(tmp_path, "certificate", certificate | {"training_suitability": "development_only"})])
    require_sound([step(tmp_path, "certificate", certificate | {"sensor_source": "mock"})])  # asked for by name


def test_stages_that_were_not_asked_for_are_not_judged(tmp_path):
    require_sound([SimpleNamespace(stage=SimpleNamespace(name="physics"), root=None)])
