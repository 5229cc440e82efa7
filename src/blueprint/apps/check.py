"""`blueprint check`: is everything in a scene what its receipts say, and in the formats it claims?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from blueprint.core.errors import BlueprintError
from blueprint.core.store import FileRecord, Scene, damage, read_receipt
from blueprint.pipeline import STAGES


def check(scene: Path) -> dict[str, Any]:
    """Hash every file of every latest result, then look at it as its format demands. ok: there are no problems."""
    store = Scene.existing(scene)
    current = store.current()
    results = [_check_result(name, store.folder(name, current[name])) for name in _order(current)]
    return {
        "scene": str(store.root),
        "ok": bool(results) and all(not result["problems"] for result in results),
        "stages": results,
    }


def _order(current: Iterable[str]) -> list[str]:
    """Names of stages as in the pipeline; those it no longer has come last."""
    known = [stage.name for stage in STAGES]
    return sorted(current, key=lambda name: (known.index(name) if name in known else len(known), name))


def text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    lines = []
    for result in value["stages"]:
        mark = "[red]✗[/red]" if result["problems"] else "[green]✓[/green]"
        lines.append(f"{mark} {result['stage']:<16}{result['files']} files, {result['bytes'] / 1e6:.1f} MB")
        lines += [f"    {escape(problem)}" for problem in result["problems"]]
        if result["problems"]:
            lines.append(f"    [cyan]hint:[/cyan] delete {escape(result['folder'])} and run again: it is made anew")
    if not value["stages"]:
        lines.append("[yellow]nothing was made here yet[/yellow]")
    lines.append("[green]whole[/green]" if value["ok"] else "[red]damaged[/red]")
    return "\n".join(lines)


def _check_result(stage: str, root: Path) -> dict[str, Any]:
    files: dict[str, FileRecord] = {}
    try:
        receipt = read_receipt(root)
        files = receipt.files
        problems = damage(root, receipt, full=True)
        if not problems and stage in HOOKS:
            problems = HOOKS[stage](root)
    except BlueprintError as error:
        problems = [error.message]
    return {
        "stage": stage,
        "folder": str(root),
        "files": len(files),
        "bytes": sum(record.size for record in files.values()),
        "problems": problems,
    }


def _mjcf(name: str) -> Callable[[Path], list[str]]:
    def load(root: Path) -> list[str]:
        from blueprint.backends.simulator_mujoco import load_model

        load_model(root / name)
        return []

    return load


def _dataset(root: Path) -> list[str]:
    from blueprint.formats.lerobot_check import check_dataset

    return [str(finding) for finding in check_dataset(root / "dataset", decode=True)]


# stage -> problems found in the folder of its result
HOOKS: dict[str, Callable[[Path], list[str]]] = {
    "simscene": _mjcf("scene.xml"),
    "workcell": _mjcf("workcell.xml"),
    "dataset": _dataset,
}
