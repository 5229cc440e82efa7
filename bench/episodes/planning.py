"""Motion planning of the Panda in four self-made workcells; `python -m bench.bars_episodes planning`.

Problems are feasible by construction: each end is found by inverse kinematics, and the tool is drawn straight from
there to open space without touching anything. OMPL's RRT-Connect over plain MuJoCo collision solves the same problems
in the same run. Every path of both is judged by MuJoCo every 2 mrad, our corners as they are rounded. Times are CPU
times of one thread, lengths the mean of the joints' norm; ours include the certificate that nothing can touch between
the checks either.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from bench.rows import Row
from blueprint.backends.robots import mjcf as robot_mjcf
from blueprint.backends.robots import registry as robots
from blueprint.skills.cell import Cell
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.ik import ArmKinematics
from blueprint.skills.planning.motion import Path as JointPath
from blueprint.skills.planning.paths import plan

Array = NDArray[np.float64]
Box = tuple[tuple[float, float, float], tuple[float, float, float]]  # centre, half sizes [m]

SEED, PROBLEMS = 868_686, 30  # held out: development looked at other seeds
OPENING_M = 0.08
JUDGED_RAD = 0.002
RETREAT_STEPS = 16
BASELINE_S = 10.0  # after which the baseline gives up


@dataclass(frozen=True)
class Problem:
    scene: str
    start: Array
    goal: Array


@dataclass(frozen=True)
class Outcome:
    """milliseconds: CPU time of the plan; length_rad: of the path; wrong: states in collision, None = no path"""

    milliseconds: float
    length_rad: float = 0.0
    wrong: int | None = None

    @property
    def solved(self) -> bool:
        return self.wrong == 0


# ------------------------------------------------------------------ workcells: the base stands at the origin


def table() -> list[Box]:
    """A table with seven things on it, as close as a hand passes."""
    things = [((x, y, h), (0.04, 0.05, h)) for x, y, h in ((0.45, -0.28, 0.12), (0.45, 0.02, 0.16), (0.45, 0.3, 0.1))]
    things += [((0.68, y, 0.14), (0.04, 0.06, 0.14)) for y in (-0.2, 0.18)]
    return [((0.5, 0.0, -0.02), (0.4, 0.6, 0.02)), *things, ((0.3, -0.45, 0.2), (0.03, 0.03, 0.2))]


def shelf() -> list[Box]:
    """Three boards and an upright wall give six compartments, 0.33 m high."""
    boards = [((0.68, 0.0, z), (0.17, 0.5, 0.01)) for z in (0.02, 0.37, 0.72, 1.07)]
    walls = [((0.68, y, 0.545), (0.17, 0.01, 0.535)) for y in (-0.5, 0.0, 0.5)]
    return [*boards, *walls, ((0.86, 0.0, 0.545), (0.01, 0.51, 0.535))]


def bin_() -> list[Box]:
    """Two open bins side by side, 0.25 m deep, on a table."""
    parts: list[Box] = [((0.5, 0.0, -0.02), (0.4, 0.6, 0.02))]
    for y in (-0.25, 0.25):
        parts += [((0.52, y + s * 0.19, 0.125), (0.2, 0.01, 0.125)) for s in (-1, 1)]
        parts += [((0.52 + s * 0.19, y, 0.125), (0.01, 0.18, 0.125)) for s in (-1, 1)]
    return parts


def cage() -> list[Box]:
    """Posts and rails around the work area: the hand reaches through the openings between them."""
    posts = [((x, y, 0.4), (0.02, 0.02, 0.4)) for x in (0.52, 0.85) for y in (-0.45, -0.15, 0.15, 0.45)]
    rails = [((x, 0.0, z), (0.02, 0.45, 0.02)) for x in (0.52, 0.85) for z in (0.42, 0.8)]
    sides = [((0.685, y, 0.8), (0.175, 0.02, 0.02)) for y in (-0.45, 0.45)]
    return [((0.5, 0.0, -0.02), (0.4, 0.6, 0.02)), *posts, *rails, *sides]


def _tool(position: Array, approach: Array, roll: float) -> Array:
    """T_world_tool whose z axis is `approach`, turned by `roll` about it."""
    z = approach / np.linalg.norm(approach)
    side = np.cross([0.0, 0.0, 1.0] if abs(z[2]) < 0.9 else [0.0, 1.0, 0.0], z)
    side /= np.linalg.norm(side)
    T = np.eye(4)
    T[:3, :3] = np.stack([side, np.cross(z, side), z], axis=1) @ Rotation.from_euler("z", roll).as_matrix()
    T[:3, 3] = position
    return T


def _down(rng: np.random.Generator, low: Array, high: Array) -> Array:
    lean = rng.normal(0.0, 0.15, 2)
    return _tool(rng.uniform(low, high), np.array([*lean, -1.0]), rng.uniform(-1.5, 1.5))


def _ahead(rng: np.random.Generator, low: Array, high: Array) -> Array:
    return _tool(rng.uniform(low, high), np.array([1.0, *rng.normal(0.0, 0.15, 2)]), rng.uniform(-1.5, 1.5))


def _table_ends(rng: np.random.Generator) -> Array:
    return _down(rng, np.array([0.35, -0.4, 0.03]), np.array([0.72, 0.4, 0.15]))


def _shelf_ends(rng: np.random.Generator) -> Array:
    z, y = 0.02 + 0.35 * rng.integers(0, 3), rng.choice([-0.48, 0.02])
    return _ahead(rng, np.array([0.55, y + 0.12, z + 0.12]), np.array([0.68, y + 0.34, z + 0.24]))


def _bin_ends(rng: np.random.Generator) -> Array:
    y = rng.choice([-0.25, 0.25])
    return _down(rng, np.array([0.43, y - 0.09, 0.04]), np.array([0.6, y + 0.09, 0.12]))


def _cage_ends(rng: np.random.Generator) -> Array:
    gap, z = rng.integers(0, 3), rng.choice([0.12, 0.55])
    return _ahead(
        rng, np.array([0.58, -0.3 + 0.3 * gap - 0.06, z]), np.array([0.72, -0.3 + 0.3 * gap + 0.06, z + 0.16])
    )


SCENES: dict[str, tuple[Callable[[], list[Box]], Callable[[np.random.Generator], Array]]] = {
    "table": (table, _table_ends),
    "shelf": (shelf, _shelf_ends),
    "bin": (bin_, _bin_ends),
    "cage": (cage, _cage_ends),
}


def workcell(boxes: list[Box], folder: Path) -> Cell:
    """The Panda on its pedestal among fixed boxes."""
    import mujoco

    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[3, 3, 0.1], pos=[0, 0, -0.7])
    for k, (centre, half) in enumerate(boxes):
        body = spec.worldbody.add_body(name=f"box_{k}", pos=centre)
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=half)
    spec.compile()
    folder.mkdir(parents=True)
    (folder / "scene.xml").write_text(spec.to_xml())
    arm = robot_mjcf.mount(folder / "scene.xml", robots.ensure("franka_panda"), np.eye(4), 0.7, folder)
    return Cell.load(folder / "workcell.xml", arm, ())


def ends(
    cell: Cell, world: CollisionWorld, draw: Callable[[np.random.Generator], Array], rng: np.random.Generator
) -> Iterator[Array]:
    """Configurations from which the tool can be drawn straight back into the open without touching anything."""
    arm = ArmKinematics(cell)
    while True:
        T = draw(rng)
        joints = arm.solve(T, arm.home + rng.normal(0.0, 0.3, len(arm.home)))
        if joints is None or not world.clear(joints, OPENING_M):
            continue
        back = T.copy()
        back[:3, 3] -= 0.3 * T[:3, 2]
        path = arm.line(T, back, joints, steps=RETREAT_STEPS)
        if path is not None and all(world.clear(q, OPENING_M) for q in path):
            yield joints


def problems(name: str, cell: Cell, world: CollisionWorld, seed: int, count: int) -> Iterator[Problem]:
    """Half lead from one place inside to another, half from home to a place inside."""
    rng = np.random.default_rng([seed, list(SCENES).index(name)])
    found = ends(cell, world, SCENES[name][1], rng)
    for k in range(count):
        start = np.array(cell.robot.home) if k % 2 else next(found)
        yield Problem(name, start, next(found))


# ------------------------------------------------------------------ judge and baseline


def collisions(cell: Cell, path: Array) -> int:
    """Configurations in contact along a path (M, n), checked every 2 mrad by MuJoCo on the workcell as it is."""
    import mujoco

    data, wrong = mujoco.MjData(cell.model), 0
    data.qpos[:] = cell.home_qpos
    for a, b in itertools.pairwise(path):
        for share in np.linspace(0.0, 1.0, max(2, int(np.ceil(np.abs(b - a).max() / JUDGED_RAD)) + 1)):
            data.qpos[cell.arm_qpos] = a + share * (b - a)
            mujoco.mj_kinematics(cell.model, data)
            mujoco.mj_collision(cell.model, data)
            wrong += bool(data.ncon and (data.contact.dist < 0.0).any())
    return wrong


def ompl_plan(cell: Cell, world: CollisionWorld, problem: Problem) -> Array | None:
    """RRT-Connect and OMPL's own simplification, MuJoCo deciding every state; checked every 0.02 rad."""
    from ompl import base, geometric

    n = len(problem.start)
    space, bounds = base.RealVectorStateSpace(n), base.RealVectorBounds(n)
    for i, (low, high) in enumerate(cell.arm_range):
        bounds.setLow(i, float(low))
        bounds.setHigh(i, float(high))
    space.setBounds(bounds)
    setup = geometric.SimpleSetup(space)
    setup.setStateValidityChecker(lambda state: world.clear(np.array([state[i] for i in range(n)]), OPENING_M))
    information = setup.getSpaceInformation()
    information.setStateValidityCheckingResolution(0.02 / space.getMaximumExtent())
    first, last = space.allocState(), space.allocState()
    for i in range(n):
        first[i], last[i] = float(problem.start[i]), float(problem.goal[i])
    setup.setStartAndGoalStates(first, last)
    setup.setPlanner(geometric.RRTConnect(information))
    setup.solve(BASELINE_S)
    if not setup.getProblemDefinition().hasExactSolution():
        return None
    setup.simplifySolution(2.0)
    return np.array([[state[i] for i in range(n)] for state in setup.getSolutionPath().getStates()])


def rounded(path: JointPath | None) -> Array | None:
    """(M, n) a planned path with its rounded corners, as finely as the judge looks."""
    if path is None:
        return None
    rows = [path.corners[:1]]
    for point, along, second, length, _ in path.sections():
        s = np.linspace(0.0, length, 2 + int(length / JUDGED_RAD))[1:, None]
        rows.append(point + s * along + s**2 / 2 * second)
    return np.concatenate([*rows, path.corners[-1:]])


def outcome(plan: Callable[[], Array | JointPath | None], cell: Cell, problem: Problem) -> Outcome:
    begun = time.process_time()
    found = plan()
    milliseconds = 1e3 * (time.process_time() - begun)
    path = rounded(found) if isinstance(found, JointPath) else found
    if path is None:
        return Outcome(milliseconds)
    joined = np.array_equal(path[0], problem.start) and np.array_equal(path[-1], problem.goal)
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    return Outcome(milliseconds, length, collisions(cell, path) if joined else len(path))


def _report(outcomes: list[Outcome]) -> str:
    times = [one.milliseconds for one in outcomes]
    share = 100 * np.mean([one.solved for one in outcomes])
    length = np.mean([one.length_rad for one in outcomes if one.wrong is not None])
    return f"{np.median(times):.1f} ms, p95 {np.percentile(times, 95):.1f} ms, solved {share:.0f} %, {length:.1f} rad"


def rows() -> Iterator[Row]:
    from ompl import util

    util.setLogLevel(util.LOG_NONE)
    util.RNG.setSeed(SEED)
    ours: list[Outcome] = []
    theirs: list[Outcome] = []
    prepared: list[float] = []
    for name, (boxes, _) in SCENES.items():
        with tempfile.TemporaryDirectory() as folder:
            cell = workcell(boxes(), Path(folder) / "workcell")
            begun = time.process_time()
            world = CollisionWorld(cell)
            world.place(cell.home_qpos)
            _ = world.levers, world.reaches
            prepared.append(1e3 * (time.process_time() - begun))
            some = list(problems(name, cell, world, SEED, PROBLEMS))
        mine = [outcome(partial(plan, world, p.start, p.goal, OPENING_M), cell, p) for p in some]
        other = [outcome(partial(ompl_plan, cell, world, p), cell, p) for p in some]
        yield Row(f"{name}, {len(some)} problems", _report(mine), "see below", None)
        yield Row(f"  OMPL RRT-Connect + MuJoCo, same {name}", _report(other), "(baseline)", None)
        ours += mine
        theirs += other
    times, base = ([one.milliseconds for one in some] for some in (ours, theirs))
    solved = float(np.mean([one.solved for one in ours]))
    yield Row(
        "preparation of a workcell, once per process", f"{np.median(prepared):.0f} ms", "(not in the times)", None
    )
    yield Row("planning time, median", f"{np.median(times):.1f} ms", "<= 5 ms", bool(np.median(times) <= 5.0))
    yield Row(
        "planning time, 95th percentile",
        f"{np.percentile(times, 95):.1f} ms",
        "<= 50 ms",
        bool(np.percentile(times, 95) <= 50.0),
    )
    yield Row(f"solved, of {len(ours)}", f"{100 * solved:.1f} %", "100 %", solved == 1.0)
    ratio = np.median(base) / np.median(times)
    yield Row("median of the baseline over ours", f"{ratio:.1f}x", "(reported)", None)


if __name__ == "__main__":
    for row in rows():
        print(row)
