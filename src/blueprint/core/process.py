"""Forked children: one thread starts and reaps them, waiting on their sentinels.

CPython 3.11 reports random exit codes when several threads start and join children, and one SIGKILL breaks a
ProcessPoolExecutor; so there is neither here. Children speak JSON, never pickle. A child dies with its parent.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from blueprint.core.errors import BlueprintError
from blueprint.core.report import emit, reporting_only

_FORK = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_TICK_S = 0.2  # how often a waiting parent lets its reporters redraw
_LOG_LINES = 6


@dataclass(frozen=True)
class Outcome:
    """How a child ended. crashed: it died without a word (signal, exit); error is None on success."""

    name: str
    value: Any
    error: BlueprintError | None
    crashed: bool = False


@dataclass
class _Child:
    name: str
    process: BaseProcess
    inbox: Any  # multiprocessing's Connection
    deadline: float
    timeout_s: float
    log: Path | None
    message: dict[str, Any] | None = None


class Children:
    """The running children of this process. Use it as a context manager: on leaving, whatever still runs is killed."""

    def __init__(self) -> None:
        self._running: list[_Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exc: object) -> None:
        for child in self._running:
            _kill(child)
        self._running.clear()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, name: str, work: Callable[[], Any], *, timeout_s: float, log: Path | None = None) -> None:
        """Fork and run `work()`, whose return value must be JSON. log: file that takes its stdout and stderr."""
        inbox, outbox = _FORK.Pipe(duplex=False)
        sys.stdout.flush()
        sys.stderr.flush()
        process = _FORK.Process(target=_child_main, args=(work, outbox, os.getpid(), log), name=name)
        process.start()
        outbox.close()
        self._running.append(_Child(name, process, inbox, time.monotonic() + timeout_s, timeout_s, log))

    def wait(self) -> list[Outcome]:
        """Block until at least one child ends (by itself or by its deadline); events pass through meanwhile."""
        done: list[Outcome] = []
        while self._running and not done:
            soonest = min(child.deadline for child in self._running) - time.monotonic()
            waitables = [c.inbox for c in self._running if not c.inbox.closed] + [
                c.process.sentinel for c in self._running
            ]
            ready = set(wait(waitables, timeout=max(0.0, min(_TICK_S, soonest))))
            emit("tick")
            for child in list(self._running):
                if child.inbox in ready:
                    _receive(child)
                if child.process.sentinel in ready:
                    done.append(_reap(child))
                elif time.monotonic() > child.deadline:
                    _kill(child)
                    done.append(Outcome(child.name, None, _timeout_error(child)))
                else:
                    continue
                self._running.remove(child)
        return done


def run_child(name: str, work: Callable[[], Any], *, timeout_s: float, log: Path | None = None) -> Outcome:
    """One child, from start to end."""
    with Children() as children:
        children.start(name, work, timeout_s=timeout_s, log=log)
        return children.wait()[0]


def run_apart(command: Sequence[str], log: Path, environ: Mapping[str, str], limit_s: float) -> int:
    """Run a program with packages of its own, not ours; returns its exit code. log: all that it prints.

    Raises OSError when it does not start, subprocess.TimeoutExpired.
    """
    own = {key: value for key, value in environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    with log.open("wb") as sink:
        return subprocess.run(command, stdout=sink, stderr=sink, env=own, timeout=limit_s, check=False).returncode


def last_lines(log: Path | None, count: int = _LOG_LINES) -> str:
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 65536))  # a native crash lists its whole stack and all modules
        text = file.read().decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    fatal = [number for number, line in enumerate(lines) if line.startswith("Fatal Python error")]
    end = fatal[-1] + count if fatal else len(lines)  # below it stands the stack, the innermost call first
    return "\n".join(lines[max(0, end - 2 * count) : end] if fatal else lines[-count:])


def peak_memory_mib() -> float:
    """Largest resident set of this process or any child it has waited for (Linux counts KiB)."""
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(max(usages) / 1024, 1)


# ------------------------------------------------------------------ parent's side


def _receive(child: _Child) -> None:
    try:
        while child.inbox.poll():
            message = json.loads(child.inbox.recv_bytes())
            if message["kind"] in ("result", "error"):
                child.message = message
            else:
                emit(message["kind"], **message["fields"])
    except (EOFError, OSError):  # the child is gone: its sentinel says the rest
        child.inbox.close()


def _reap(child: _Child) -> Outcome:
    child.process.join()
    if not child.inbox.closed:
        _receive(child)
        child.inbox.close()
    code = child.process.exitcode
    child.process.close()
    message = child.message
    if message is None:
        return Outcome(child.name, None, _crash_error(child, code), crashed=True)
    if message["kind"] == "error":
        return Outcome(child.name, None, _error_from_json(message["fields"], child.log))
    return Outcome(child.name, message["fields"], None)


def _kill(child: _Child) -> None:
    """Kill the child's group; what it forked dies with it, what it spawned is in the group."""
    pid = child.process.pid
    if pid is not None:
        with suppress(ProcessLookupError, PermissionError):  # not yet its own group's leader, or already gone
            os.killpg(pid, signal.SIGKILL)
    child.process.kill()
    child.process.join()
    child.inbox.close()


def _crash_error(child: _Child, code: int | None) -> BlueprintError:
    if code is not None and code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with exit code {code} and no result"
    hint = "SIGKILL is often the kernel running out of memory; " if code == -signal.SIGKILL else ""
    lines = last_lines(child.log)
    tail = f"; its last log lines:\n{lines}" if lines else ""
    return BlueprintError(f"{child.name} {how}", f"{hint}run again: finished work is kept{tail}")


def _timeout_error(child: _Child) -> BlueprintError:
    lines = last_lines(child.log)
    tail = f"; its last log lines:\n{lines}" if lines else ""
    return BlueprintError(
        f"{child.name} gave no result within {child.timeout_s:g} s and was killed",
        f"run again on a less loaded machine: finished work is kept{tail}",
    )


def _error_from_json(fields: dict[str, str], log: Path | None) -> BlueprintError:
    kinds = {kind.__name__: kind for kind in _tree(BlueprintError)}
    if fields["type"] in kinds:
        return kinds[fields["type"]](fields["message"], fields["hint"])
    where = f"the traceback is in {log}" if log else "the traceback is on standard error"
    return BlueprintError(f"{fields['type']}: {fields['message']}", f"this is a defect of blueprint; {where}")


def _tree(kind: type[BlueprintError]) -> Iterable[type[BlueprintError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


# ------------------------------------------------------------------ child's side


class _Outbox:
    """Reporter of a child: events travel to the parent."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        if kind != "tick":
            self.send(kind, fields)

    def send(self, kind: str, fields: Any) -> None:
        self._connection.send_bytes(json.dumps({"kind": kind, "fields": fields}, default=str).encode())


def _child_main(work: Callable[[], Any], connection: Any, parent: int, log: Path | None) -> None:
    _die_with_parent(parent)
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):  # what the parent does on these is not for its children to do
        signal.signal(number, signal.SIG_DFL)
    if log is not None:
        _redirect_output(log)
    faulthandler.enable(file=2, all_threads=False)
    outbox = _Outbox(connection)
    try:
        with reporting_only(outbox):
            value = work()
        outbox.send("result", value)
    except BaseException as error:
        outbox.send("error", _error_to_json(error))
        raise  # multiprocessing writes the traceback to stderr, which is the log


def _die_with_parent(parent: int) -> None:
    """Ask Linux for SIGKILL when the parent dies; another system has no such call and keeps an orphan to its end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def _redirect_output(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)  # whatever stood there before may lead elsewhere
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _error_to_json(error: BaseException) -> dict[str, str]:
    if isinstance(error, BlueprintError):
        return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space and run again: finished work is kept"
        return {"type": "BlueprintError", "message": f"the disk is full: {error}", "hint": hint}
    if isinstance(error, MemoryError):
        hint = "run.jobs=1 needs the least memory; finished work is kept"
        return {"type": "BlueprintError", "message": f"out of memory: {error}", "hint": hint}
    return {"type": type(error).__name__, "message": str(error), "hint": ""}
