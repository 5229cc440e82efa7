"""A small pipeline: numbers -> doubled -> total, with ways to go wrong."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from blueprint.core import settings
from blueprint.core.artifact import Artifact, Config
from blueprint.core.errors import InfeasibleError, TransientError
from blueprint.core.execute import map_items
from blueprint.core.report import metric
from blueprint.core.run import Given, Job, Step, run
from blueprint.core.stage import stage
from blueprint.core.store import Scene


class Start(Artifact):
    """trace: folder in which the stages note that they ran."""

    trace: str
    value: int


class Numbers(Artifact):
    numbers: tuple[int, ...]


class Doubled(Artifact):
    doubled: tuple[int, ...]


class Total(Artifact):
    total: int


class NumbersConfig(Config):
    count: int = 3
    shift: int = 0
    go: Literal["right", "infeasible", "flaky", "crash", "hang", "defect", "full"] = "right"


class DoubledConfig(Config):
    factor: int = 2
    seed: int = 0
    slow_s: float = 0.0
    die_tidying: bool = False


class TotalConfig(Config):
    parity_only: bool = False


class Adder(Protocol):
    name: str
    version: str

    def add(self, numbers: tuple[int, ...]) -> int: ...


def note(trace: str, what: str) -> int:
    """Record that something ran; returns how often it has."""
    with Path(trace, what).open("a") as file:
        file.write("x")
    return Path(trace, what).stat().st_size


@stage(version="1", timeout_s=2.0)
def numbers(start: Start, cfg: NumbersConfig, out: Path) -> Numbers:
    times = note(start.trace, "numbers")
    metric("numbers", cfg.count)
    if cfg.go == "infeasible":
        raise InfeasibleError("no numbers", "ask for some")
    if cfg.go == "flaky" and times == 1:
        raise TransientError("not this time")
    if cfg.go == "crash":
        os.write(1, b"about to die\n")  # past pytest, which catches print
        os.kill(os.getpid(), signal.SIGSEGV)
    if cfg.go == "hang":
        time.sleep(60)
    if cfg.go == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if cfg.go == "defect":
        raise ZeroDivisionError("oops")
    (out / "numbers.txt").write_text(str(cfg.count))
    return Numbers(numbers=tuple(range(start.value, start.value + cfg.count)))


@stage(version="1")
def doubled(start: Start, numbers: Numbers, cfg: DoubledConfig, out: Path) -> Doubled:
    note(start.trace, "doubled")

    def work(number: int, folder: Path) -> None:
        time.sleep(cfg.slow_s)
        note(start.trace, f"item {number}")
        (folder / "value.txt").write_text(str(cfg.factor * number))

    (out / "half_written.tmp").write_text("lost if killed")
    folders = map_items(work, [(f"{n:03}", n) for n in numbers.numbers], out / "items", what="doubling", jobs=2)
    (out / "half_written.tmp").unlink()
    values = tuple(int((folder / "value.txt").read_text()) for folder in folders)
    if cfg.die_tidying:
        (folders[0] / "value.txt").unlink()
        (folders[1] / "value.txt").write_text("7")
        if not Path(start.trace, "died").exists():
            note(start.trace, "died")
            os.kill(os.getpid(), signal.SIGKILL)
    return Doubled(doubled=values)


@stage(version="1")
def total(start: Start, doubled: Doubled, cfg: TotalConfig, out: Path) -> Total:
    note(start.trace, "total")
    value = sum(doubled.doubled)
    return Total(total=value % 2 if cfg.parity_only else value)


class Printed(Artifact):
    text: str


@stage(version="1")
def printed(start: Start, total: Total, out: Path) -> Printed:
    note(start.trace, "printed")
    return Printed(text=f"the total is {total.total}")


STAGES = (numbers, doubled, total, printed)


def job(folder: Path, *sets: str, value: int = 1, stages: tuple = STAGES) -> Job:
    (folder / "trace").mkdir(parents=True, exist_ok=True)
    given = Given(Start(trace=str(folder / "trace"), value=value), f"value {value}")
    return Job(stages, given, Scene(folder / "scene"), settings.load(stages, environ={}, sets=sets))


def do(folder: Path, *sets: str, until: str | None = None, **changes) -> dict[str, Step]:
    todo = job(folder, *sets, **changes)
    with todo.scene.lease():
        return {step.stage.name: step for step in run(todo, until)}


def ran(steps: dict[str, Step]) -> set[str]:
    return {name for name, step in steps.items() if step.ran}


def with_version(name: str, version: str) -> tuple:
    return tuple(replace(s, version=version) if s.name == name else s for s in STAGES)
