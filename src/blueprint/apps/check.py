"""`blueprint check`: is everything in a scene what its receipts say, and in the formats it claims?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from blueprint.apps import session
from blueprint.core.errors import BlueprintError
from blueprint.core.run import Step, plan
from blueprint.core.store import damage


def check(scene: Path) -> dict[str, Any]:
    """Hash every file of every current result, then look at it as its format demands. ok: there are no problems."""
    job = session.reopen(scene)
    steps = plan(job)
    results = [_check_step(step) for step in steps if step.root is not None]
    pending = [step.stage.name for step in steps if step.root is None]
    return {
        "scene": str(job.scene.root),
        "ok": all(not result["problems"] for result in results),
        "stages": results,
        "pending": pending,
    }


def text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    lines = []
    for result in value["stages"]:
        mark = "[red]✗[/red]" if result["problems"] else "[green]✓[/green]"
        lines.append(f"{mark} {result['stage']:<16}{result['files']} files, {result['bytes'] / 1e6:.1f} MB")
        lines += [f"    {escape(problem)}" for problem in result["problems"]]
        if result["problems"]:
            lines.append(f"    [cyan]hint:[/cyan] delete {escape(result['folder'])} and run again: it is made anew")
    if value["pending"]:
        lines.append(f"[yellow]not up to date: {', '.join(value['pending'])}[/yellow]")
    lines.append("[green]whole[/green]" if value["ok"] else "[red]damaged[/red]")
    return "\n".join(lines)


def _check_step(step: Step) -> dict[str, Any]:
    assert step.root is not None and step.receipt is not None
    problems = damage(step.root, step.receipt, full=True)
    hook = HOOKS.get(step.stage.name)
    if hook is not None and not problems:
        try:
            problems = hook(step.root)
        except BlueprintError as error:
            problems = [error.message]
    return {
        "stage": step.stage.name,
        "folder": str(step.root),
        "files": len(step.receipt.files),
        "bytes": sum(record.size for record in step.receipt.files.values()),
        "problems": problems,
    }


def _mjcf(name: str) -> Callable[[Path], list[str]]:
    def load(root: Path) -> list[str]:
        from blueprint.backends.simulator_mujoco import load_model

        load_model(root / name)
        return []

    return load


# stage -> problems found in the folder of its result
HOOKS: dict[str, Callable[[Path], list[str]]] = {
    "simscene": _mjcf("scene.xml"),
    "workcell": _mjcf("workcell.xml"),
}
