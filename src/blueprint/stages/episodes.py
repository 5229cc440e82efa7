"""Episodes: verified demonstrations, as states. Nothing is drawn here.

An episode is a task, a seeded start and up to `retries` further attempts from that same start, each with the next best
grasp. What an attempt did is judged by `skills.goals`, which knows nothing of plans. Failed attempts keep their cause.
Objects, physics and goals differ from episode to episode as `vary` says; what was drawn is in each record.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.backends.protocols import Simulator
from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError, SettingsError
from blueprint.core.execute import map_items
from blueprint.core.stage import stage
from blueprint.model.artifacts import Episodes, Library, TaskSet, Workcell
from blueprint.model.episode import Attempt, EpisodeRecord
from blueprint.model.movers import AnyMover
from blueprint.model.task import Task
from blueprint.model.variation import Injected, Level, Swap, Variation

if TYPE_CHECKING:
    from blueprint.skills.families import Way
    from blueprint.skills.rollout import Rollout
    from blueprint.skills.scene import TaskScene
    from blueprint.skills.variation.object_sets import ObjectSet
    from blueprint.skills.wording import Wording

Array = NDArray[np.float64]

RECORD_FILE, STATES_FILE, MODELS = "record.json", "states.npz", "models"
STARTS_TRIED = 10  # variations of the start, until one is found from which the task can be planned
EPISODE_S = 1200.0  # far more than the slowest seen on a busy machine: beyond it, something hangs
EMPTY = Library()
WIDER = 0.3  # by how much of the jitter each next variation is wider: what stands crammed needs room


class Vary(Config):
    """What differs from episode to episode, beside where objects start: each `none`, `low`, `medium` or `high`.

    physics: masses, frictions, joint damping, within the ranges of the scene's bodies
    objects: which others are there, their sizes, things of the library in their places (2, 4, 8 sets); goals: regions
    """

    physics: Level = "none"
    objects: Level = "none"
    goals: Level = "none"


class EpisodesConfig(Config):
    """count: of episodes, dealt to the tasks in turn. fps: control and recording rate [Hz].

    retries: further attempts after a failed one; jitter_m, jitter_deg: how far starts vary
    from the capture (more where that leaves no room for a grasp)
    grasp_samples: surface points per object from which grasps are built
    vary: `vary.physics`, `vary.objects`, `vary.goals`, each none, low, medium or high (docs/episodes.md)
    recover: how often, within an attempt, the robot may see that something went wrong, plan again and go on
    inject_errors: share of the episodes in which it is made to err first; keep_failures: store states of failures, too
    """

    count: int = Field(default=20, ge=1, le=1_000_000)
    fps: int = Field(default=15, ge=5, le=60)
    retries: int = Field(default=3, ge=0, le=20)
    jitter_m: float = Field(default=0.03, ge=0, le=0.3)
    jitter_deg: float = Field(default=20.0, ge=0, le=180)
    grasp_samples: int = Field(default=160, ge=20)
    vary: Vary = Vary()
    recover: int = Field(default=0, ge=0, le=5)
    inject_errors: float = Field(default=0.0, ge=0, le=1)
    keep_failures: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """What all episodes share, made once and inherited by the processes that run them.

    settings: the scene with each set of objects, as captured first; refused: assets that cannot stand in a set, and why
    """

    settings: tuple[Setting, ...]
    cfg: EpisodesConfig
    movers: tuple[AnyMover, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """mjcf: its file of the artifact, None = the workcell's; swaps: what stands in the place of captured objects."""

    objects: ObjectSet
    scene: TaskScene
    wording: Wording
    mjcf: str | None = None
    swaps: dict[str, Swap] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Where an episode starts, in which scene, what is asked of it, and what differs. qpos: (nq,)"""

    scene: TaskScene
    task: Task
    qpos: Array
    variation: Variation


@stage(version="6", timeout_s=48 * 3600.0)
def episodes(
    workcell: Workcell, taskset: TaskSet, simulator: Simulator, cfg: EpisodesConfig, out: Path, library: Library = EMPTY
) -> Episodes:
    """Plan, simulate and judge. Raises InfeasibleError when not one episode succeeds."""
    from blueprint.skills.rollout import SEGMENTS

    plan = _prepare(workcell, taskset, library, simulator, cfg, out)
    items = [(f"{i:06d}", (i, taskset.tasks[i % len(taskset.tasks)])) for i in range(cfg.count)]
    folders = map_items(partial(_run_episode, plan), items, out / "episodes", what="episodes", timeout_s=EPISODE_S)
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
        state_names=workcell.state_names,
        episodes=records,
        refused_swaps=plan.refused,
    )


def _prepare(
    workcell: Workcell, taskset: TaskSet, library: Library, simulator: Simulator, cfg: EpisodesConfig, out: Path
) -> Plan:
    """The scene as captured, and with every set of objects, its model written to `out`/models.

    Raises SettingsError for errors to make among people: neither was tried with the other.
    """
    from blueprint.skills.scene import TaskScene
    from blueprint.skills.variation.object_sets import SETS, ObjectSet, draw_set, draw_swaps, write_set
    from blueprint.skills.wording import Wording, viewers_right

    if workcell.movers and cfg.inject_errors:
        raise SettingsError(
            "episodes.inject_errors and workcell.people or movers do not go together", "set one of them to 0"
        )
    steps = [step for task in taskset.tasks for step in task.steps]
    wanted = {step.object for step in steps}
    fitted = {str(one) for step in steps if step.goal.family == "insert" for one in (step.object, step.goal.target)}

    def scene_with(objects: ObjectSet, file: Path | None) -> TaskScene:
        scene = TaskScene.of(
            objects.workcell(workcell), simulator, cfg.seed, jitter_m=cfg.jitter_m, samples=cfg.grasp_samples, file=file
        )
        for name in sorted(wanted & {*scene.cell.objects}):
            for k in range(len(scene.team)):
                scene.grasps(name, k)
        simulator.open(scene.cell.file).close()  # compiled here, once: episodes inherit it
        return scene

    captured = scene_with(ObjectSet(), None)
    cell, right, level = captured.cell, viewers_right(captured.cell.model), cfg.vary.objects
    settings, refused = [Setting(ObjectSet(), captured, Wording.of(captured, right))], dict[str, str]()
    rng, swapping = (np.random.default_rng([cfg.seed, purpose]) for purpose in (13, 17))
    for k in range(SETS[level]):
        objects, file = draw_set(rng, level, cell, wanted & {*cell.objects}, fitted), f"{MODELS}/{k:03d}.xml"
        (out / MODELS).mkdir(exist_ok=True)
        tried = draw_swaps(swapping, level, library, objects.scaled)
        objects = write_set(captured, objects, tried, library, out / file, refused)
        swaps = {name: library.similar[name][asset.name] for name, asset in objects.swapped.items()}
        scene = scene_with(objects, out / file)
        settings.append(Setting(objects, scene, Wording.of(scene, right), file, swaps))
    return Plan(tuple(settings), cfg, workcell.movers, refused)


# ------------------------------------------------------------------ one episode


def _run_episode(plan: Plan, item: tuple[int, Task], folder: Path) -> None:
    """Write record.json and states: of the success, and of failures where they are kept."""
    from blueprint.skills.attempt import failed

    index, task = item
    rng = np.random.default_rng([plan.cfg.seed, 7, index])
    attempts: list[Attempt] = []
    start, ways = _start(plan, task, index, rng)
    if start is None:
        attempts.append(failed("unstable_start", "no variation of the start stands still"))
    for k, way in zip(range(plan.cfg.retries + 1), ways, strict=False):
        assert start is not None
        rollout, attempt = _attempt(plan, start, way, rng)
        attempts.append(_kept(plan, attempt, rollout, folder, index, k))
        if attempt.success:
            break
    if not attempts:
        attempts.append(failed("no_grasp", f"infeasible from any start: {_why_none(task, start)}"))
    last = attempts[-1]
    record = EpisodeRecord(
        index=index,
        task=task if start is None else start.task,
        seed=plan.cfg.seed,
        success=last.success,
        attempts=tuple(attempts),
        states=last.states if last.success else None,
        frames=last.frames if last.success else 0,
        grasp_class=last.grasp_class if last.success else "",
        variation=None if start is None else start.variation,
    )
    (folder / RECORD_FILE).write_text(record.model_dump_json())


def _why_none(task: Task, start: Start | None) -> str:
    from blueprint.skills.families import family

    return "" if start is None else family(task.goal.family).why_none(start.scene, start.task, start.qpos)


def _kept(plan: Plan, attempt: Attempt, rollout: Rollout, folder: Path, index: int, k: int) -> Attempt:
    """The attempt with its states file, if they are to be kept and there is a frame."""
    if not rollout.frames or not (attempt.success or plan.cfg.keep_failures):
        return attempt
    name = STATES_FILE if attempt.success else f"failed_{k}.npz"
    rollout.save(folder / name)
    return attempt.model_copy(update={"states": f"episodes/{index:06d}/{name}", "frames": rollout.frames})


def _start(plan: Plan, task: Task, index: int, rng: np.random.Generator) -> tuple[Start | None, Iterator[Way]]:
    """A start and the ways to do the task from there, best first, with the first set of objects that admits one."""
    seed = (plan.cfg.seed, 11, index)
    drawn = np.random.default_rng(seed)
    errs = drawn.uniform() < plan.cfg.inject_errors
    kept, passed = None, dict[str, str]()
    for setting, asked in _settings(plan, task, drawn):
        start = _drawn(plan, setting, asked, seed, drawn)
        start, ways = _settled(plan, start, rng)
        kept = start or kept
        first = next(ways, None)
        if start is not None and first is not None:
            start = replace(start, variation=start.variation.model_copy(update={"passed": passed}))
            ways = _and_more(start, itertools.chain([first], ways), rng)
            return _erring(start, ways, drawn, rng) if errs else (start, ways)
        if setting.mjcf and setting.swaps:
            passed[setting.mjcf] = "no start stands still" if start is None else _why_none(start.task, start)
    return kept, iter(())


def _settings(plan: Plan, task: Task, drawn: np.random.Generator) -> Iterator[tuple[Setting, Task]]:
    """The sets that hold what the task needs, in random order, the task in their words; last, what was captured."""
    from blueprint.skills.variation.object_sets import reworded

    named = {name for step in task.steps for name in (step.object, step.goal.target)}
    captured, *others = plan.settings
    order = drawn.permutation(len(others)).tolist()
    for setting in (others[k] for k in order if not named & {*others[k].objects.absent}):
        if (asked := reworded(task, captured.wording, setting.wording, setting.swaps)) is not None:
            yield setting, asked
    yield captured, task


def _drawn(plan: Plan, setting: Setting, task: Task, seed: tuple[int, ...], drawn: np.random.Generator) -> Start:
    """What differs, drawn; nothing has been placed yet."""
    from blueprint.skills.variation.draws import draw_goal, draw_physics

    scene, vary = setting.scene, plan.cfg.vary
    fingers = [name for view in scene.cell.views for name in view.robot.gripper.finger_bodies]
    variation = Variation(
        seed=seed,
        physics=draw_physics(drawn, vary.physics, scene.cell.model, scene.bodies.values(), fingers),
        absent=setting.objects.absent,
        scaled=setting.objects.scaled,
        swapped=setting.swaps,
        mjcf=setting.mjcf,
        movers=_movers(plan, scene, drawn),
    )
    return Start(scene, draw_goal(drawn, vary.goals, scene, task, setting.wording), scene.cell.home_qpos, variation)


def _movers(plan: Plan, scene: TaskScene, drawn: np.random.Generator) -> tuple[AnyMover, ...]:
    """People take a way of their own in every episode; objects keep to their course."""
    from blueprint.skills.planning.obstacles import passing_by

    base = np.array(scene.cell.robot.base.position[:2])
    return tuple(
        passing_by(one.name, scene.table, base, one.floor_z, one.stature, drawn) if one.kind == "person" else one
        for one in plan.movers
    )


def _settled(plan: Plan, drawn: Start, rng: np.random.Generator) -> tuple[Start | None, Iterator[Way]]:
    """A start that stands still and the ways from there; of those without a way the last, None if none stands still."""
    from blueprint.skills.families import family
    from blueprint.skills.variation.start import varied_start

    scene, task, known = drawn.scene, drawn.task, family(drawn.task.goal.family)
    start: Start | None = None
    for variation in range(STARTS_TRIED):
        base = known.arrange(scene, task, scene.cell.home_qpos, rng)
        jitter_m, jitter_deg = ((1 + WIDER * variation) * jitter for jitter in (plan.cfg.jitter_m, plan.cfg.jitter_deg))
        qpos = varied_start(
            scene.cell,
            scene.table,
            scene.simulator,
            rng,
            jitter_m,
            float(np.deg2rad(jitter_deg)),
            base=base,
            physics=drawn.variation.physics,
        )
        if qpos is None:
            continue
        where = drawn.variation.model_copy(update={"start": tuple(qpos.tolist())})
        start = Start(scene, task, qpos, where)
        ways = known.ways(scene, task, qpos, rng)
        first = next(ways, None)
        if first is not None:
            return start, itertools.chain([first], ways)
    return start, iter(())


def _and_more(start: Start, ways: Iterator[Way], rng: np.random.Generator) -> Iterator[Way]:
    """The ways, and where all were tried, those that further draws of places find."""
    from blueprint.skills.families import family

    known = family(start.task.goal.family)
    while first := next(ways, None):
        yield first
        yield from ways
        ways = known.ways(start.scene, start.task, start.qpos, rng)


def _erring(
    start: Start, ways: Iterator[Way], drawn: np.random.Generator, rng: np.random.Generator
) -> tuple[Start, Iterator[Way]]:
    """The start with an error to make, and the ways of a robot that makes it; as it was where no error suits."""
    from blueprint.skills.families import family
    from blueprint.skills.variation.draws import UNLIFTED, draw_error, mistaken

    cell = start.scene.cell
    error = draw_error(drawn, start.task, cell.objects)
    if error is None:
        return start, ways
    task, believed = mistaken(cell, start.task, start.qpos, error)
    wrong = family(task.goal.family).ways(start.scene, task, believed, rng)
    if error.kind != "early_opening" and (first := next(wrong, None)) is not None:
        ways = itertools.chain([first], wrong)
    else:  # nobody would try what was drawn, but every gripper that lifts may slip
        error = None if task.goal.family in UNLIFTED else Injected(kind="early_opening")
    variation = start.variation.model_copy(update={"injected": error})
    return Start(start.scene, start.task, start.qpos, variation), ways


def _attempt(plan: Plan, start: Start, way: Way, rng: np.random.Generator) -> tuple[Rollout, Attempt]:
    from blueprint.skills.attempt import SlippingRollout, attempt
    from blueprint.skills.planning.collision import CollisionWorld
    from blueprint.skills.planning.obstacles import mover_of
    from blueprint.skills.replay import judged
    from blueprint.skills.rollout import Rollout
    from blueprint.skills.yielding import YieldingRollout

    scene, error = start.scene, start.variation.injected
    simulation = scene.simulator.open(scene.cell.file, start.qpos, start.variation.physics)
    slips = error is not None and error.kind == "early_opening"
    if start.variation.movers:
        movers = tuple(mover_of(one) for one in start.variation.movers)
        world = CollisionWorld(scene.cell)
        rollout = YieldingRollout(simulation, scene.cell, plan.cfg.fps, movers=movers, world=world)
    else:
        rollout = (SlippingRollout if slips else Rollout)(simulation, scene.cell, plan.cfg.fps)
    done = attempt(scene, start.task, way, rollout, partial(judged, start.task), rng, recover=plan.cfg.recover)
    simulation.close()
    return rollout, done
