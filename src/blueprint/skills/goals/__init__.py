"""Whether a task was done: an independent judge of what happened, from states and contacts alone.

It shares no code with the planner and does not know what was planned. Every condition is a `Check` with its measured
value and its bound; an attempt succeeds when all of them hold, and fails for the cause of the first that does not.

One file per group of goals, with `findings(history, task)`: its checks, each with the cause that it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from blueprint.core.errors import IntegrityError
from blueprint.model.episode import Check, FailureCause
from blueprint.model.task import Family, Task
from blueprint.skills.goals import rules
from blueprint.skills.goals.history import Evidence, History

__all__ = ["GOALS", "Evidence", "Verdict", "judge"]

# family -> the file here that judges it
GOALS: dict[Family, str] = {
    "lift": "pick",
    "place_region": "pick",
    "place_beside": "pick",
    "place_on": "pick",
    "place_into": "pick",
    "handover": "two_arms",
    "carry": "two_arms",
    "stack": "several",
    "rearrange": "several",
    "sort": "several",
    "chain": "several",
    "insert": "insert",
    "wipe": "wipe",
    "pour": "pour",
    "open": "joints",
    "close": "joints",
    "turn": "joints",
    "press": "joints",
    "push": "push",
    "pull": "push",
}


@dataclass(frozen=True)
class Verdict:
    """cause and detail: of the first check that failed, None and "" on success."""

    success: bool
    cause: FailureCause | None
    detail: str
    checks: tuple[Check, ...]


def judge(task: Task, evidence: Evidence) -> Verdict:
    """Raises IntegrityError when the evidence is malformed or too short, or names a body that the model lacks."""
    if task.goal.family not in GOALS:
        raise IntegrityError(f"no judge of {task.goal.family!r}; there are: {', '.join(GOALS)}")
    history = History(evidence)
    history.validate(task)
    judged = import_module(f"{__name__}.{GOALS[task.goal.family]}").findings(history, task)
    starts, told = rules.start(history), rules.limits(history)
    findings = [*rules.blamed("unstable_start", starts), *judged, *rules.blamed("too_fast", told)]
    checks = tuple(check for _, check in findings)
    for cause, check in findings:
        if not check.passed:
            detail = f"{check.name}: {check.measured:.4g}, must be {check.comparison} {check.bound:.4g}"
            return Verdict(False, cause, detail, checks)
    return Verdict(True, None, "", checks)
