"""What the reading commands say, as JSON values and as text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blueprint.apps import session
from blueprint.apps.headlines import headline
from blueprint.apps.outputs import MOCK_MARK
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.run import Step, plan


def status(scene: Path, sets: Iterable[str]) -> dict[str, Any]:
    """Every stage with its state, and reasons if it must run."""
    job = session.reopen(scene, sets)
    return {
        "scene": str(job.scene.root),
        "capture": job.scene.request()["capture"],
        "busy": job.scene.writer(),
        "stages": [_describe(step) for step in plan(job)],
    }


def status_text(value: dict[str, Any]) -> str:
    marks = {"done": "[green]✓[/green]", "stale": "[yellow]•[/yellow]", "waits": "[dim]·[/dim]"}
    lines = [f"[bold]{value['scene']}[/bold]  [dim]of {value['capture']}[/dim]"]
    if value["busy"]:
        lines.append(f"[yellow]process {value['busy']} is at work here[/yellow]")
    for step in value["stages"]:
        took = f"{step['seconds']:8.1f} s" if step["seconds"] is not None else f"{'':10}"
        says = step["headline"] or "; ".join(step["reasons"])
        lines.append(f"{marks[step['state']]} {step['stage']:<16}{took}  [dim]{_plain(says)}[/dim]")
    return "\n".join(lines)


def why(scene: Path, name: str, sets: Iterable[str]) -> dict[str, Any]:
    """Why the stage would run now (or that it would not), and why it ran when it last did."""
    job = session.reopen(scene, sets)
    steps = {step.stage.name: step for step in plan(job)}
    if name not in steps:
        raise SettingsError(f"no stage {name!r}", f"there are: {', '.join(steps)}")
    current = job.scene.current().get(name)
    last = job.scene.receipt(name, current) if current else None
    return _describe(steps[name]) | {
        "ran_because": list(last.reasons) if last else [],
        "ran_at": last.finished if last else None,
    }


def why_text(value: dict[str, Any]) -> str:
    name = value["stage"]
    lines = {
        "done": [f"{name} would not run: its result is there"],
        "stale": [f"{name} would run:"],
        "waits": [f"{name} would be looked at again once its inputs are made:"],
    }[value["state"]]
    lines += [f"  {_plain(reason)}" for reason in value["reasons"]]
    if value["ran_at"]:
        lines.append(f"it last ran at {value['ran_at']}:")
        lines += [f"  {_plain(reason)}" for reason in value["ran_because"]]
    return "\n".join(lines)


def report(scene: Path) -> dict[str, Any]:
    outputs = session.Scene.existing(scene).root / "outputs"
    path = next((path for mark in ("", MOCK_MARK) if (path := outputs / f"{mark}report/index.html").is_file()), None)
    if path is None:
        raise InputError(f"{scene} has no report yet", "finish it: blueprint run CAPTURE --scene DIR, without --until")
    return {"report": str(path)}


def _describe(step: Step) -> dict[str, Any]:
    receipt = step.receipt
    return {
        "stage": step.stage.name,
        "state": step.state,
        "reasons": list(step.reasons),
        "key": receipt.key if receipt else None,
        "files_digest": receipt.files_digest if receipt else None,
        "seconds": receipt.seconds if receipt else None,
        "backends": receipt.backends if receipt else {},
        "headline": headline(step.stage.name, str(step.root)) if step.root else "",
    }


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
