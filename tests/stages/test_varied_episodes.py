"""Laws of varied episodes: drawn from the seed alone, replayed from the record alone, errors mended and labelled."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from bench.audit import objections, rerun

from blueprint.backends.simulator_mujoco import SimulatorMujoco, load_model
from blueprint.core.errors import InfeasibleError
from blueprint.model.artifacts import Episodes, TaskSet, Workcell
from blueprint.model.task import Goal, Task
from blueprint.stages.episodes import EpisodesConfig, Start, Vary, _and_more, episodes
from toy_cell import make_workcell

MOVE = Task(
    id="place",
    object="soup_can",
    goal=Goal(family="place_region", center=(-0.05, -0.22), radius_m=0.05),
    instruction="move it",
)
LIFT = Task(id="lift", object="cracker_box", goal=Goal(family="lift", height_m=0.08), instruction="lift it")
VARIED = EpisodesConfig(count=2, vary=Vary(physics="high", objects="medium", goals="high"), grasp_samples=80, seed=2)


@pytest.fixture(scope="module")
def workcell(tmp_path_factory: pytest.TempPathFactory) -> Workcell:
    return make_workcell(tmp_path_factory.mktemp("cell") / "workcell")


def run(workcell: Workcell, out: Path, cfg: EpisodesConfig, *tasks: Task) -> Episodes:
    out.mkdir(exist_ok=True)
    return episodes(workcell, TaskSet(tasks=tasks, refused={}), SimulatorMujoco(), cfg, out).save(out)


@pytest.fixture(scope="module")
def varied(workcell: Workcell, tmp_path_factory: pytest.TempPathFactory) -> Episodes:
    return run(workcell, tmp_path_factory.mktemp("varied"), VARIED, MOVE)


def test_every_record_says_what_was_varied(workcell: Workcell, varied: Episodes) -> None:
    first, second = (record.variation for record in varied.episodes)
    assert first is not None and second is not None
    assert first.physics is not None and first.physics != second.physics
    assert first.mjcf is not None and second.mjcf is not None
    assert first.absent or second.absent
    assert varied.episodes[0].task.goal.center != MOVE.goal.center
    assert {record.task.instruction for record in varied.episodes} == {MOVE.instruction}


def test_success_survives_variation_and_an_audit_under_the_same_physics_agrees(
    workcell: Workcell, varied: Episodes
) -> None:
    """The record alone says under what: the model, the start, the physics."""
    for record in varied.episodes:
        assert record.success and record.states is not None and record.variation is not None
        again = rerun(
            workcell,
            varied.path(record.states),
            varied.fps,
            mjcf=varied.model(record, workcell),
            physics=record.variation.physics,
        )
        assert again.largest_difference == 0.0
        assert tuple(again.qpos[0].tolist()) == record.variation.start
        assert objections(workcell, record.task, again) == []


def test_other_physics_give_another_course(workcell: Workcell, varied: Episodes) -> None:
    record = varied.episodes[0]
    assert record.states is not None
    other = rerun(workcell, varied.path(record.states), varied.fps, mjcf=varied.model(record, workcell))
    assert other.largest_difference > 0.0


def test_same_seed_same_variation_and_same_bytes(workcell: Workcell, varied: Episodes, tmp_path: Path) -> None:
    again = run(workcell, tmp_path / "again", VARIED, MOVE)
    assert again.model_dump() == varied.model_dump()
    digests = [
        [hashlib.sha256(made.path(str(record.states)).read_bytes()).hexdigest() for record in made.episodes]
        for made in (varied, again)
    ]
    assert digests[0] == digests[1]


def test_what_is_not_there_has_no_geometry_and_states_mean_the_same(workcell: Workcell, varied: Episodes) -> None:
    captured = load_model(workcell.path(workcell.mjcf))
    for record in varied.episodes:
        assert record.variation is not None
        model = load_model(varied.model(record, workcell))
        assert (model.nq, model.nbody, model.nu) == (captured.nq, captured.nbody, captured.nu)
        assert [model.body(k).name for k in range(model.nbody)] == [captured.body(k).name for k in range(model.nbody)]
        for name in record.variation.absent:
            assert model.body_geomnum[model.body(name).id] == 0
        for name, factor in record.variation.scaled.items():
            np.testing.assert_allclose(model.body(name).mass, factor**3 * captured.body(name).mass, rtol=1e-5)
            np.testing.assert_allclose(model.body(name).inertia, factor**5 * captured.body(name).inertia, rtol=1e-4)
            low = model.body(name).pos[2] - factor * captured.body(name).pos[2]
            assert low == pytest.approx(0.0, abs=1e-5), "it stands on the table"


@pytest.fixture(scope="module")
def erring(workcell: Workcell, tmp_path_factory: pytest.TempPathFactory) -> Episodes:
    cfg = EpisodesConfig(count=4, recover=2, inject_errors=1.0, retries=0, grasp_samples=80, seed=1)
    return run(workcell, tmp_path_factory.mktemp("erring"), cfg, LIFT, MOVE)


def test_an_error_is_labelled_and_mended_in_the_same_rollout(erring: Episodes) -> None:
    errors = [record.variation.injected for record in erring.episodes if record.variation is not None]
    assert all(errors), "every episode has its error written down"
    mended = [record for record in erring.episodes if record.success and record.recoveries]
    assert len(mended) >= 3
    back = erring.segments.index("recover")
    for record in mended:
        with np.load(erring.path(str(record.states))) as file:
            segment = file["segment"]
        labelled = np.zeros(len(segment), dtype=bool)
        for recovery in record.recoveries:
            assert recovery.cause in ("grasp_missed", "dropped", "missed_goal")
            labelled[recovery.frame : recovery.frame + recovery.frames] = True
        assert ((segment == back) == labelled).all() and labelled.any()


def test_failures_are_kept_with_their_cause_when_asked_for(workcell: Workcell, tmp_path: Path) -> None:
    cfg = EpisodesConfig(count=2, inject_errors=1.0, retries=0, grasp_samples=80, seed=1)
    kept = cfg.model_copy(update={"keep_failures": True})
    with pytest.raises(InfeasibleError):  # both err and may not recover
        run(workcell, tmp_path / "dropped", cfg, LIFT)
    assert not [*(tmp_path / "dropped").rglob("*.npz")]
    with pytest.raises(InfeasibleError):
        run(workcell, tmp_path / "kept", kept, LIFT)
    assert [path.name for path in sorted((tmp_path / "kept").rglob("*.npz"))] == ["failed_0.npz"] * 2


def test_where_all_ways_were_tried_further_draws_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([["c"], ["d", "e"], []])
    known = SimpleNamespace(ways=lambda *_: iter(next(drawn)))
    monkeypatch.setattr("blueprint.skills.families.family", lambda _: known)
    start = Start(cast(Any, None), MOVE, np.zeros(7), cast(Any, None))
    ways = cast(Any, iter(["a", "b"]))
    assert list(_and_more(start, ways, np.random.default_rng(0))) == ["a", "b", "c", "d", "e"]
