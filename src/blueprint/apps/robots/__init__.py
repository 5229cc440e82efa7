"""What `blueprint robots` says: which robots there are, what a sheet holds, what an added robot turned out to be."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blueprint.backends.robots.sheet import Limit, RobotSheet, TeamSheet, arms_of, sheets


def listing() -> dict[str, Any]:
    """Every robot and team. folder: None where an arm is not installed; own: added on this machine."""
    from blueprint.backends.robots.registry import find

    rows = []
    for name, sheet in sheets().items():
        arms = arms_of((name,))
        folders = [found.folder if (found := find(arm.name)) else None for arm in arms]
        rows.append(
            {
                "name": name,
                "title": sheet.title,
                "arms": len(arms),
                "folder": str(folders[0]) if all(folders) else None,
                "own": isinstance(sheet, RobotSheet) and not sheet.files,
            }
        )
    return {"robots": rows}


def listing_text(value: dict[str, Any]) -> str:
    wide = max(len(row["name"]) for row in value["robots"]) + 2
    lines = []
    for row in value["robots"]:
        where = "installed" if row["folder"] else f"not installed: blueprint robots install {row['name']}"
        lines.append(f"{row['name']:<{wide}}{where}{', added here' if row['own'] else ''}\n{'':<{wide}}{row['title']}")
    return "\n".join([*lines, "", "one in detail: blueprint robots show NAME; your own: blueprint robots add FILE"])


def shown(name: str) -> dict[str, Any]:
    """The sheet of a robot, or of the arms of a team. Raises BackendError naming the robots that exist."""
    arms_of((name,))
    return sheets()[name].model_dump(mode="json")


def shown_text(value: dict[str, Any]) -> str:
    if "arms" in value:
        return f"{TeamSheet.model_validate(value).title}: {', '.join(value['arms'])}"
    sheet = RobotSheet.model_validate(value)
    gripper = sheet.gripper
    lines = [f"{sheet.title} ({sheet.licence})", f"joints   {', '.join(sheet.joints)}", f"home     {list(sheet.home)}"]
    lines.append(
        f"gripper  {gripper.actuator} moves {', '.join(gripper.finger_bodies)}; pads: {', '.join(gripper.pads)}"
    )
    lines.append(f"servos   {sheet.servo.source if sheet.servo else 'those of its file'}")
    for field, limit in sheet.limits:
        assert isinstance(limit, Limit)
        values = limit.values[:1] if len(set(limit.values)) == 1 else limit.values
        lines.append(f"{field:<20}{', '.join(f'{v:g}' for v in values)}\n{'':<20}{limit.source}")
    lines += [f"from     {part.package} ({part.megabytes} MB): {part.folder}" for part in sheet.files]
    lines += [f"assumed  {one}" for one in sheet.assumed]
    return "\n".join(lines)


def installed(name: str) -> dict[str, Any]:
    """Fetch a robot, or the arms of a team. Raises BackendError when it cannot be had."""
    from blueprint.backends.robots.registry import install

    return {"folders": [str(install(arm).folder) for arm in dict.fromkeys(sheet.name for sheet in arms_of((name,)))]}


def added(file: Path, name: str, title: str, arm: str) -> dict[str, Any]:
    """Raises InputError when the robot cannot be used."""
    from blueprint.apps.robots.onboarding import add

    made = add(file, name=name, title=title, arm=arm)
    trials = {trial.name: trial.measured for trial in made.trials}
    return {
        "name": made.robot.name,
        "title": made.robot.title,
        "found": made.told,
        "tried": trials,
        "assumed": made.assumed,
        "sheet": str(made.sheet),
    }


def added_text(value: dict[str, Any]) -> str:
    lines = [f"{value['name']}: {value['title']}", "", "found", *(f"  {one}" for one in value["found"])]
    lines += ["", "tried", *(f"  {name}: {measured}" for name, measured in value["tried"].items())]
    lines += ["", "assumed, for the file does not say", *(f"  {one}" for one in value["assumed"])]
    return "\n".join([*lines, "", f"sheet: {value['sheet']}", f"use it: --set workcell.robot={value['name']}"])


def answer(arguments: Namespace) -> tuple[dict[str, Any], Callable[[dict[str, Any]], str]]:
    """What a verb of `blueprint robots` has to say, and how it is said in words."""
    if arguments.action == "list":
        return listing(), listing_text
    if arguments.action == "show":
        return shown(arguments.name), shown_text
    if arguments.action == "install":
        return installed(arguments.name), lambda value: "\n".join(value["folders"])
    return added(arguments.file, arguments.name, arguments.title, arguments.arm), added_text
