"""The audit of tasks that move joints and slide things, in other words than the judge's.

It looks at how far bodies have turned and moved against what carries them, not at the joint's value, and at where the
origin of a thing lies, not at its outline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

from blueprint.model.artifacts import Workcell
from blueprint.model.task import Task

if TYPE_CHECKING:
    from bench.audit import Rerun

Array = NDArray[np.float64]

FAMILIES = ("open", "close", "turn", "press", "push", "pull")
SHORT = 0.02  # of the way: frames of bodies are read from matrices
DIAL_RAD = 0.15
FORCE_N = {"part": 66.0, "hand elsewhere": 22.0, "arm": 2.5}
MOVED_M, TURNED_DEG, BASE_M = 0.025, 15.0, 0.035
REGION_SLACK_M = 0.01  # origins of things are not the middles of their outlines


def objections(workcell: Workcell, task: Task, run: Rerun) -> list[str]:
    """What speaks against the success of one of `FAMILIES`."""
    poses = _poses(run)
    handled = _handled(task, run)
    found = [*_forces(workcell, handled, run), *_elsewhere(task, handled, run, poses), *_end(handled, run)]
    return found + (_joint(task, run, poses) if task.goal.joint else _slid(workcell, task, run, poses))


def _poses(run: Rerun) -> list[tuple[Array, Array]]:
    """Per frame, position (nbody, 3) and matrix (nbody, 3, 3) of every body."""
    data, out = mujoco.MjData(run.model), []
    for qpos in run.qpos:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(run.model, data)
        out.append((data.xpos.copy(), data.xmat.reshape(-1, 3, 3).copy()))
    return out


def _handled(task: Task, run: Rerun) -> set[int]:
    joint = task.goal.joint
    root = run.model.body(task.object).id if joint is None else int(run.model.jnt_bodyid[run.model.joint(joint).id])
    return {b for b in range(run.model.nbody) if root in _carriers(run, b)}


def _carriers(run: Rerun, body: int) -> list[int]:
    """The body and what carries it."""
    chain = [body]
    while body:
        body = int(run.model.body_parentid[body])
        chain.append(body)
    return chain


def _robot(run: Rerun) -> set[int]:
    return {b for b in range(run.model.nbody) if run.model.body(b).name.startswith("robot")}


def _forces(workcell: Workcell, handled: set[int], run: Rerun) -> list[str]:
    fingers = [run.model.body(name).id for arm in workcell.robots for name in arm.gripper.finger_bodies]
    hands = {b for b in _robot(run) if int(run.model.body_parentid[fingers[0]]) in _carriers(run, b)}
    robot, sums, pinched = _robot(run), dict[tuple[int, str], float](), dict[int, set[int]]()
    for (frame, a, b), force in zip(run.contacts.tolist(), run.forces.tolist(), strict=True):
        if (a in robot) == (b in robot):
            continue
        mine, other = (a, b) if a in robot else (b, a)
        kind = "arm" if mine not in hands else "part" if other in handled else "hand elsewhere"
        sums[frame, kind] = sums.get((frame, kind), 0.0) + force
        if other in handled and mine in fingers and force > 0.02:
            pinched.setdefault(frame, set()).add(mine)
    worst = dict.fromkeys(FORCE_N, 0.0)
    for (frame, kind), force in sums.items():
        if kind != "part" or len(pinched.get(frame, ())) < 2:  # what is gripped bears the grip
            worst[kind] = max(worst[kind], force)
    return [f"{kind}: {force:.0f} N" for kind, force in worst.items() if force > FORCE_N[kind]]


def _elsewhere(task: Task, handled: set[int], run: Rerun, poses: list[tuple[Array, Array]]) -> list[str]:
    """Bodies that the task does not handle, against where they were, at every frame."""
    found, own = [], _carriers(run, min(handled))
    for body in sorted(set(range(1, run.model.nbody)) - _robot(run) - handled):
        place = np.array([xpos[body] for xpos, _ in poses])
        moved = float(np.linalg.norm(place - place[0], axis=1).max())
        cosine = min((float(np.trace(xmat[body].T @ poses[0][1][body])) - 1) / 2 for _, xmat in poses)
        turned = float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
        if moved > (BASE_M if body in own else MOVED_M) or (body in own and turned > TURNED_DEG):
            found.append(f"{run.model.body(body).name} moved {1000 * moved:.0f} mm, turned {turned:.0f} deg")
    return found


def _end(handled: set[int], run: Rerun) -> list[str]:
    found, robot = [], _robot(run)
    if any(({a, b} & robot) and ({a, b} & handled) for a, b in run.touching[-1]):
        found.append("the robot still touches it")
    if float(np.linalg.norm(run.qpos[-1] - run.qpos[-6])) > 0.02:
        found.append("still moving at the end")
    return found


def _joint(task: Task, run: Rerun, poses: list[tuple[Array, Array]]) -> list[str]:
    """How far the part has turned or slid against what carries it."""
    goal, joint = task.goal, run.model.joint(task.goal.joint).id
    body = int(run.model.jnt_bodyid[joint])
    parent = int(run.model.body_parentid[body])
    slides = run.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE
    relative = [xmat[parent].T @ xmat[body] for _, xmat in poses]
    local = [xmat[parent].T @ (xpos[body] - xpos[parent]) for xpos, xmat in poses]

    def gone(since: int, frame: int) -> float:
        if slides:
            return float(np.linalg.norm(local[frame] - local[since]))
        cosine = (np.trace(relative[since].T @ relative[frame]) - 1) / 2
        return float(np.arccos(np.clip(cosine, -1, 1)))

    way = abs(goal.value - float(run.qpos[0, int(run.model.jnt_qposadr[joint])]))
    if goal.family == "press":
        deepest = max(gone(0, frame) for frame in range(len(poses)))
        back = gone(0, -1)
        found = [] if deepest >= (1 - SHORT) * way else [f"pressed {1000 * deepest:.1f} mm of {1000 * way:.1f}"]
        return found + ([f"{1000 * back:.1f} mm in still"] if back > 0.3 * way else [])
    reached = gone(0, -1)
    if goal.family == "turn":
        return [] if abs(reached - way) <= DIAL_RAD else [f"turned {reached:.2f} rad, wanted {way:.2f}"]
    return [] if reached >= (1 - SHORT) * way else [f"went {reached:.3f} of {way:.3f}"]


def _slid(workcell: Workcell, task: Task, run: Rerun, poses: list[tuple[Array, Array]]) -> list[str]:
    goal, body = task.goal, run.model.body(task.object).id
    place = np.array([xpos[body] for xpos, _ in poses])
    found = []
    rise = float((place[:, 2] - place[0, 2]).max())
    if rise > 0.008:
        found.append(f"lifted by {1000 * rise:.0f} mm")
    upright = min(float(xmat[body][2] @ poses[0][1][body][2]) for _, xmat in poses)
    if upright < np.cos(np.deg2rad(16.0)):
        found.append("tilted")
    if goal.center is not None:
        # the origin moves as far as the outline's middle does, but for the turn about it
        away = float(np.linalg.norm(place[-1, :2] - goal.center))
        if away > goal.radius_m + REGION_SLACK_M:
            found.append(f"{away:.3f} m from the region's centre")
    grips = [[run.model.body(name).id for name in arm.gripper.finger_bodies] for arm in workcell.robots]
    held = np.array(
        [any(all((min(f, body), max(f, body)) in pairs for f in hand) for hand in grips) for pairs in run.touching]
    )
    if goal.family == "pull":
        if not held.any():
            found.append("never held by both fingers")
        base = np.array([arm.base.position[:2] for arm in workcell.robots])
        gain = np.linalg.norm(base - place[0, :2], axis=1) - np.linalg.norm(base - place[-1, :2], axis=1)
        if gain.max() < 0.03:
            found.append(f"nearer by {1000 * gain.max():.0f} mm only")
        return found
    width = np.zeros(len(run.qpos))
    for arm in workcell.robots:
        closed = (
            arm.gripper.finger_positions[0] if arm.gripper.finger_positions else (0.0,) * len(arm.gripper.finger_joints)
        )
        for name, rest in zip(arm.gripper.finger_joints, closed, strict=True):
            width += np.abs(run.qpos[:, int(run.model.joint(name).qposadr[0])] - rest)
    if (held & (width > 0.01)).any():
        found.append("held between open fingers")
    return found
