"""What the settings name and is not there is told before any work, with what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.apps.session import open_job
from blueprint.core.errors import BlueprintError
from blueprint.core.run import Given
from blueprint.model.artifacts import Source

WRONG = {
    "tasks.proposer=gemni": ("tasks.proposer: no proposer 'gemni'", "there is: gemini; or leave it out"),
    "physics.estimator=gemni": ("physics.estimator: no estimator 'gemni'", "there is: gemini; or leave it out"),
    "articulation.model=gemni": ("articulation.model: no articulator 'gemni'", "there is: gemini; or leave it out"),
    "workcell.robot=r2d2": ("no robot 'r2d2'; there are: aloha_pair, franka_panda", "blueprint robots list"),
    'workcell.robots=["franka_panda", "r2d2"]': ("no robot 'r2d2'", "blueprint robots list"),
    'recording.cameras=["wrst"]': ("no camera 'wrst'", "scene, wrist, overhead, side, front"),
    'recording.cameras=["wrist2"]': ("no camera 'wrist2'", "scene, wrist, overhead, side, front"),
    "tasks.policy=dish_lauding": (
        "= 'dish_lauding': no policy 'dish_lauding'; there are: dexterous_pick_place",
        "docs/settings.md",
    ),
    'tasks.families=["lft"]': ("'lift', 'place_region'", "docs/settings.md"),
}


def opened(folder: Path, *sets: str) -> None:
    given = Given(Source(location=str(folder / "capture"), digest="0"), "0")
    open_job(given, folder / "scene", sets=["run.simulator=mujoco", *sets], config=None)


@pytest.mark.parametrize("setting", WRONG)
def test_a_name_that_is_not_there_is_told_before_any_work(tmp_path: Path, setting: str) -> None:
    with pytest.raises(BlueprintError) as raised:
        opened(tmp_path, setting)
    said, hint = WRONG[setting]
    assert said in raised.value.message and hint in raised.value.hint
    assert not (tmp_path / "scene").exists()


def test_names_that_are_there_pass(tmp_path: Path) -> None:
    opened(tmp_path, 'recording.cameras=["wrist2", "front"]', "workcell.robot=panda_pair", "tasks.policy=dish_loading")
    opened(tmp_path, "tasks.proposer=gemini", "physics.estimator=gemini", "articulation.model=gemini")
