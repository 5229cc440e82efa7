"""What a person sees while a run works: a live bar per long step, a line per finished stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from blueprint.core.report import reporting

_PLAIN_EVERY_S = 10.0  # without a terminal: a line of progress this often


class _Bar(BarColumn):
    """Only where there is something to count: a stage as a whole has no bar."""

    def render(self, task: Task) -> Any:
        return Text() if task.total is None else super().render(task)


class _Count(MofNCompleteColumn):
    def render(self, task: Task) -> Text:
        return Text(clock(task.elapsed or 0.0), style="dim") if task.total is None else super().render(task)


class _Rate(ProgressColumn):
    """Items per second or minute since the bar appeared, and the time that is left at that rate."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(
            rate_text(task.completed - task.fields["first"], task.total or 0, task.completed, task.elapsed or 0.0)
        )


def rate_text(gained: float, total: float, done: float, seconds: float) -> str:
    """`12.0/s, 0:05 left`; empty until an item is done."""
    if gained <= 0 or seconds <= 0:
        return ""
    rate = gained / seconds
    left = (total - done) / rate
    speed = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
    return f"{speed}, {clock(left)} left" if total > done else speed


def clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class ConsoleReporter:
    """Reporter for people. Draws in the caller's thread only: the parent of forked processes must have no other.

    headline: (stage, folder of its result) -> what to say of it in one line
    """

    def __init__(self, headline: Callable[[str, str], str]) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._headline = headline
        self._live = self._console.is_terminal
        self._bars: dict[str, TaskID] = {}
        self._stage: tuple[str, TaskID] | None = None
        self._printed: dict[str, tuple[float, float, int]] = {}  # what -> (first time, last printed, first done)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            _Bar(bar_width=28),
            _Count(),
            _Rate(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )

    def __enter__(self) -> ConsoleReporter:
        if self._live:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._progress.stop()

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        match kind:
            case "stage_start":
                self._start(fields)
            case "stage_done":
                self._end(fields["stage"], f"{fields['seconds']:8.1f} s", fields["root"], "green", "✓")
            case "stage_reused":
                self._console.print(f"[dim]= {fields['stage']:<16}{'unchanged':>10}[/dim]")
            case "stage_failed":
                self._clear_bars()
                self._console.print(f"[red]✗ {fields['stage']}[/red]")
            case "progress":
                self._bar(**fields)
            case "warning":
                self._console.print(f"[yellow]! {escape(fields['message'])}[/yellow]")
            case "tick":
                if self._live:
                    self._progress.refresh()
            case _:
                pass

    def _start(self, fields: dict[str, Any]) -> None:
        self._clear_bars()
        if self._live:
            label = f"[bold]{fields['stage']}[/bold] [dim]({fields['number']}/{fields['of']})[/dim]"
            self._stage = (fields["stage"], self._progress.add_task(label, total=None, first=0))
            self._progress.refresh()

    def _end(self, stage: str, took: str, root: str, colour: str, mark: str) -> None:
        self._clear_bars()
        self._console.print(
            f"[{colour}]{mark}[/{colour}] {stage:<16}{took}  [dim]{escape(self._headline(stage, root))}[/dim]"
        )

    def _clear_bars(self) -> None:
        for task in [*self._bars.values(), *([self._stage[1]] if self._stage else [])]:
            self._progress.remove_task(task)
        self._bars.clear()
        self._printed.clear()
        self._stage = None
        if self._live:
            self._progress.refresh()

    def _bar(self, what: str, done: int, total: int, **_: Any) -> None:
        if not self._live:
            return self._plain(what, done, total)
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(f"  {escape(what)}", total=total, completed=done, first=done)
        self._progress.update(self._bars[what], completed=done, total=total)
        self._progress.refresh()
        return None

    def _plain(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        first, printed, first_done = self._printed.setdefault(what, (now, now, done))
        if now - printed >= _PLAIN_EVERY_S and done < total:
            self._printed[what] = (first, now, first_done)
            rate = rate_text(done - first_done, total, done, now - first)
            self._console.print(f"  {escape(what)} {done}/{total} {rate}")


@contextmanager
def on_terminal() -> Iterator[None]:
    """What is reported inside the block is shown."""
    from blueprint.apps.headlines import headline

    with ConsoleReporter(headline) as console, reporting(console):
        yield


def print_error(message: str, hint: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]error:[/bold red] {escape(message)}")
    if hint:
        console.print(f"[cyan]hint:[/cyan] {escape(hint)}")
