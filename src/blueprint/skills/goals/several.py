"""Several steps: a tower, things brought to their places, a chain of tasks.

The history is cut shortly before the hand first works on each step's object. Every stretch is judged as that step's own
task, so all of its checks hold for it: nothing dropped, no collision, done and let go before the next object is
touched. What no later step changes again must also hold at the end of everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from importlib import import_module

import numpy as np

from blueprint.model.episode import Check
from blueprint.model.task import Step, Task
from blueprint.skills.goals import pick
from blueprint.skills.goals.history import History
from blueprint.skills.goals.rules import START_S, Finding, check

LET_GO_S = 0.5  # untouched by the hand for this long: the step's work is over


def findings(history: History, task: Task) -> Iterator[Finding]:
    from blueprint.skills.goals import GOALS

    steps = task.steps
    begins = _begins(history, steps)
    yield "missed_goal", check("steps begun, in this order", float(len(begins)), "==", float(len(steps)))
    if len(begins) < len(steps):
        return
    for k, step in enumerate(steps):
        part = _part(history, begins[k], begins[k + 1] if k + 1 < len(steps) else history.frames)
        alone = Task(id=task.id, object=step.object, goal=step.goal, instruction="")
        if part.frames <= history.evidence.fps:
            yield "missed_goal", check(f"step {k + 1}: frames", float(part.frames), ">=", float(history.evidence.fps))
        elif GOALS[step.goal.family] == "pick":
            yield from _numbered(k, pick.findings(part, alone, _company(steps, step)))
        else:
            yield from _numbered(k, import_module(f"{__package__}.{GOALS[step.goal.family]}").findings(part, alone))
    for k, step in enumerate(steps):
        if GOALS[step.goal.family] == "pick" and not any(later.object == step.object for later in steps[k + 1 :]):
            checks = pick.reached(history, step.object, step.goal, _company(steps, step))
            yield from _numbered(k, (("missed_goal", one) for one in checks), "at the end of all, ")


def _numbered(k: int, found: Iterator[Finding], when: str = "") -> Iterator[Finding]:
    for cause, one in found:
        yield cause, Check(**{**one.model_dump(), "name": f"step {k + 1}: {when}{one.name}"})


def _company(steps: Sequence[Step], step: Step) -> Collection[str]:
    """What else the task puts on the step's object, or into the same container."""
    return {
        other.object
        for other in steps
        if other.object != step.object
        and (
            other.goal.target == step.object
            or (other.goal.target == step.goal.target and other.goal.family == step.goal.family == "place_into")
        )
    }


def _begins(history: History, steps: Sequence[Step]) -> list[int]:
    """The frame shortly before the hand first touches each step's object, after it let go of the one before; first, 0.

    So much before as a start is judged over: what is pushed, such as a drawer, moves with the first touch.
    """
    begins, after, early = [0], 0, round(START_S * history.evidence.fps)
    for before, step in itertools.pairwise(steps):
        touched = history.touching(_bodies(history, before), history.hand)
        free = _let_go(touched, after, max(1, round(LET_GO_S * history.evidence.fps)))
        now = np.flatnonzero(history.touching(_bodies(history, step), history.hand)[free:]) if free else np.zeros(0)
        if free is None or not len(now):
            break
        after = free + int(now[0])
        begins.append(max(free, after - early))
    return begins


def _let_go(touched: np.ndarray, after: int, frames: int) -> int | None:
    """The first frame from which it stays untouched for so many, once it was touched."""
    first = np.flatnonzero(touched[after:])
    if not len(first):
        return None
    for frame in range(after + int(first[0]), len(touched) - frames):
        if not touched[frame : frame + frames].any():
            return frame
    return None


def _bodies(history: History, step: Step) -> frozenset[int]:
    """What the hand works on: the object, or what hangs on the joint."""
    model = history.model
    root = model.body(step.object).id if step.goal.joint is None else model.jnt_bodyid[model.joint(step.goal.joint).id]
    inside = {int(root)}
    for body in range(int(root) + 1, model.nbody):
        if int(model.body_parentid[body]) in inside:
            inside.add(body)
    return frozenset(inside)


def _part(history: History, begin: int, end: int) -> History:
    """The frames from `begin` up to `end` as a history of their own."""
    evidence = history.evidence
    inside = (evidence.contacts[:, 0] >= begin) & (evidence.contacts[:, 0] < end)
    contacts = evidence.contacts[inside] - np.array([begin, 0, 0], dtype=np.int32)
    return History(replace(evidence, qpos=evidence.qpos[begin:end], contacts=contacts, forces=evidence.forces[inside]))
