"""The one seam through which progress, metrics, warnings and logs leave the pipeline.

Library code calls `progress`, `metric`, `warn` and `log`; what becomes of them is decided by the reporters that
an app installs with `reporting`. Without a reporter they cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Reporter(Protocol):
    def event(self, kind: str, fields: dict[str, Any]) -> None: ...


_reporters: ContextVar[tuple[Reporter, ...]] = ContextVar("reporters", default=())


@contextmanager
def reporting(*reporters: Reporter) -> Iterator[None]:
    """Send events to `reporters` (in addition to those already installed) inside the block."""
    token = _reporters.set((*_reporters.get(), *reporters))
    try:
        yield
    finally:
        _reporters.reset(token)


@contextmanager
def reporting_only(*reporters: Reporter) -> Iterator[None]:
    """Send events to `reporters` and to no one installed before, inside the block."""
    token = _reporters.set(reporters)
    try:
        yield
    finally:
        _reporters.reset(token)


def emit(kind: str, **fields: Any) -> None:
    for reporter in _reporters.get():
        reporter.event(kind, fields)


def log(message: str, **fields: Any) -> None:
    emit("log", message=message, **fields)


def warn(message: str, **fields: Any) -> None:
    emit("warning", message=message, **fields)


def metric(name: str, value: float, unit: str = "") -> None:
    emit("metric", name=name, value=value, unit=unit)


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items`, reporting how many of `total` are done (a bar with rate and remaining time on a terminal)."""
    emit("progress", what=what, done=0, total=total)
    for done, item in enumerate(items, start=1):
        yield item
        emit("progress", what=what, done=done, total=total)
