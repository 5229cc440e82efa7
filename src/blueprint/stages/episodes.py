"""Episodes: verified demonstrations, as states. Nothing is drawn here.

An episode is a task, a seeded start and up to `retries` further attempts from that same start, each with the next best
grasp. What an attempt did is judged by `skills.goals`, which knows nothing of plans. Failed attempts keep their cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.backends.protocols import Simulator
from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError
from blueprint.core.execute import map_items
from blueprint.core.stage import stage
from blueprint.model.artifacts import Episodes, TaskSet, Workcell
from blueprint.model.episode import Attempt, EpisodeRecord, FailureCause
from blueprint.model.task import Task

if TYPE_CHECKING:
    from blueprint.skills.families import Way
    from blueprint.skills.goals import Verdict
    from blueprint.skills.rollout import Rollout
    from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

RECORD_FILE, STATES_FILE = "record.json", "states.npz"
STARTS_TRIED = 10  # variations of the start, until one is found from which the task can be planned
WIDER = 0.3  # by how much of the jitter each next variation is wider: what stands crammed needs room


class EpisodesConfig(Config):
    """count: of episodes, dealt to the tasks in turn. fps: control and recording rate [Hz].

    retries: further attempts after a failed one; jitter_m, jitter_deg: how far starts vary
    from the capture (more where that leaves no room for a grasp)
    grasp_samples: surface points per object from which grasps are built
    """

    count: int = Field(default=20, ge=1, le=1_000_000)
    fps: int = Field(default=15, ge=5, le=60)
    retries: int = Field(default=3, ge=0, le=20)
    jitter_m: float = Field(default=0.03, ge=0, le=0.3)
    jitter_deg: float = Field(default=20.0, ge=0, le=180)
    grasp_samples: int = Field(default=160, ge=20)
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """What all episodes share, made once and inherited by the processes that run them."""

    scene: TaskScene
    cfg: EpisodesConfig


@stage(version="1", timeout_s=48 * 3600.0)
def episodes(workcell: Workcell, taskset: TaskSet, simulator: Simulator, cfg: EpisodesConfig, out: Path) -> Episodes:
    """Plan, simulate and judge. Raises InfeasibleError when not one episode succeeds."""
    from blueprint.skills.rollout import SEGMENTS

    plan = _prepare(workcell, taskset, simulator, cfg)
    items = [(f"{i:06d}", (i, taskset.tasks[i % len(taskset.tasks)])) for i in range(cfg.count)]
    folders = map_items(partial(_run_episode, plan), items, out / "episodes", what="episodes", timeout_s=300.0)
    records = tuple(EpisodeRecord.model_validate_json((folder / RECORD_FILE).read_bytes()) for folder in folders)
    for folder in folders:
        (folder / RECORD_FILE).unlink()
    if not any(record.success for record in records):
        causes = sorted({f"{a.cause}: {a.detail}" for record in records for a in record.attempts if a.cause})
        raise InfeasibleError(
            f"none of {len(records)} episodes succeeded",
            "the attempts ended with: " + "; ".join(causes[:4]) + "; try fewer tasks or another robot pose",
        )
    return Episodes(
        fps=cfg.fps,
        simulator=f"{simulator.name} {simulator.version}",
        segments=SEGMENTS,
        state_names=(*(name.rpartition("/")[2] for name in workcell.robot.joints), "gripper"),
        episodes=records,
    )


def _prepare(workcell: Workcell, taskset: TaskSet, simulator: Simulator, cfg: EpisodesConfig) -> Plan:
    from blueprint.skills.scene import TaskScene

    scene = TaskScene.of(workcell, simulator, cfg.seed, jitter_m=cfg.jitter_m, samples=cfg.grasp_samples)
    for name in sorted({step.object for task in taskset.tasks for step in task.steps} & {*scene.cell.objects}):
        scene.grasps(name)
    return Plan(scene, cfg)


# ------------------------------------------------------------------ one episode


def _run_episode(plan: Plan, item: tuple[int, Task], folder: Path) -> None:
    """Write record.json and, on success, states.npz."""
    from blueprint.skills import motion

    index, task = item
    motion.seed_planner(plan.cfg.seed * 1_000_003 + index)
    rng = np.random.default_rng([plan.cfg.seed, 7, index])
    attempts: list[Attempt] = []
    rollout, grasp_class = None, ""
    start, ways = _start(plan, task, rng)
    if start is None:
        attempts.append(_failed("unstable_start", "no variation of the start stands still"))
    for _, way in zip(range(plan.cfg.retries + 1), ways, strict=False):
        assert start is not None
        rollout, attempt = _attempt(plan, task, way, start)
        attempts.append(attempt)
        grasp_class = way.kind
        if attempt.success:
            rollout.save(folder / STATES_FILE)
            break
    if not attempts:
        attempts.append(_failed("no_grasp", f"no way to {task.goal.family} with {task.object} from any start"))
    success = attempts[-1].success
    record = EpisodeRecord(
        index=index,
        task=task,
        seed=plan.cfg.seed,
        success=success,
        attempts=tuple(attempts),
        states=f"episodes/{index:06d}/{STATES_FILE}" if success else None,
        frames=rollout.frames if rollout is not None and success else 0,
        grasp_class=grasp_class if success else "",
    )
    (folder / RECORD_FILE).write_text(record.model_dump_json())


def _failed(cause: FailureCause, detail: str) -> Attempt:
    return Attempt(success=False, cause=cause, detail=detail, checks=(), seconds=0.0)


def _start(plan: Plan, task: Task, rng: np.random.Generator) -> tuple[Array | None, Iterator[Way]]:
    """A settled start (nq,) and the ways to do the task from there, best first."""
    import itertools

    from blueprint.skills.families import family
    from blueprint.skills.start import varied_start

    scene, known = plan.scene, family(task.goal.family)
    start: Array | None = None
    for variation in range(STARTS_TRIED):
        base = known.arrange(scene, task, scene.cell.home_qpos, rng)
        jitter_m, jitter_deg = ((1 + WIDER * variation) * jitter for jitter in (plan.cfg.jitter_m, plan.cfg.jitter_deg))
        qpos = varied_start(
            scene.cell, scene.table, scene.simulator, rng, jitter_m, float(np.deg2rad(jitter_deg)), base=base
        )
        if qpos is None:
            continue
        start = qpos
        ways = known.ways(scene, task, start, rng)
        first = next(ways, None)
        if first is not None:
            return start, itertools.chain([first], ways)
    return start, iter(())


def _attempt(plan: Plan, task: Task, way: Way, start: Array) -> tuple[Rollout, Attempt]:
    from blueprint.skills.primitives import SkillError
    from blueprint.skills.rollout import Rollout

    cell = plan.scene.cell
    simulation = plan.scene.simulator.open(cell.file, start)
    rollout = Rollout(simulation, cell, plan.cfg.fps)
    try:
        way.run(rollout)
    except SkillError as error:
        attempt = Attempt(
            success=False, cause=error.cause, detail=error.detail, checks=(), seconds=rollout.frames / rollout.fps
        )
    else:
        verdict = _judge(task, rollout)
        attempt = Attempt(
            success=verdict.success,
            cause=verdict.cause,
            detail=verdict.detail,
            checks=verdict.checks,
            seconds=rollout.frames / rollout.fps,
        )
    simulation.close()
    return rollout, attempt


def _judge(task: Task, rollout: Rollout) -> Verdict:
    from blueprint.skills.goals import Evidence, judge

    arrays, cell = rollout.arrays(), rollout.cell
    evidence = Evidence(
        model=cell.model,
        robots=cell.robots,
        objects=cell.objects,
        qpos=arrays["qpos"],
        contacts=arrays["contacts"],
        forces=arrays["force"],
        fps=rollout.fps,
    )
    return judge(task, evidence)
