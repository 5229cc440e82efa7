"""`blueprint check`: is a scene what its receipts say, and in the formats it claims? Or: is a LeRobot dataset sound?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from blueprint.core.errors import BlueprintError
from blueprint.core.store import FileRecord, Scene, damage, read_receipt
from blueprint.pipeline import STAGES


def check(path: Path) -> dict[str, Any]:
    """path: a scene directory, or the root of anybody's LeRobot dataset (v2.0, v2.1, v3.0)."""
    return check_dataset(path) if (path / "meta" / "info.json").is_file() else check_scene(path)


def check_dataset(root: Path) -> dict[str, Any]:
    """Look for what is wrong with its files, clock, values and pictures. ok: nothing was found."""
    from blueprint.formats.lerobot.doctor import examine
    from blueprint.formats.lerobot.read import open_dataset

    dataset = open_dataset(root)
    found = examine(root)
    return {
        "dataset": str(root),
        "version": dataset.version,
        "episodes": dataset.info.get("total_episodes"),
        "frames": dataset.info.get("total_frames"),
        "ok": not found,
        "findings": [{"rule": one.rule, "where": one.where, "message": one.message} for one in found],
    }


def check_scene(scene: Path) -> dict[str, Any]:
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

    if "dataset" in value:
        return _dataset_text(value)
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


SHOWN = 20  # findings, before the rest is only counted


def _dataset_text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    lines = [f"LeRobot {value['version']}: {value['episodes']} episodes, {value['frames']} frames"]
    for one in value["findings"][:SHOWN]:
        lines.append(f"[red]✗[/red] {one['rule']:<12}{escape(one['where'])}: {escape(one['message'])}")
    if len(value["findings"]) > SHOWN:
        lines.append(f"  and {len(value['findings']) - SHOWN} more; all of them: --json")
    lines.append("[green]sound[/green]" if value["ok"] else f"[red]{len(value['findings'])} findings[/red]")
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
    from blueprint.formats.lerobot.check import check_dataset

    return [str(finding) for finding in check_dataset(root / "dataset", decode=True)]


# stage -> problems found in the folder of its result
HOOKS: dict[str, Callable[[Path], list[str]]] = {
    "simscene": _mjcf("scene.xml"),
    "workcell": _mjcf("workcell.xml"),
    "dataset": _dataset,
}
