"""Scenes for tasks that carry things: captures, and tables of blocks, trays and cans that come as MJCF.

All go through the stages as a user's scene does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.episodes.contact_families import TABLE, imported
from bench.rows import captures
from bench.spine.settle import BOXED, scratch, simscene_of
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InfeasibleError
from blueprint.model.artifacts import SimScene, Workcell
from blueprint.model.task import Family, Task
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

BLOCK = '<body name="{name}" pos="{x} {y} {z}"><freejoint/><geom type="box" size="{sx} {sy} {sz}" mass="0.1"/></body>'


def block(name: str, x: float, y: float, half: tuple[float, float, float]) -> str:
    return BLOCK.format(name=name, x=x, y=y, z=half[2], sx=half[0], sy=half[1], sz=half[2])


def tray(name: str, x: float, y: float, half: float = 0.085, high: float = 0.045) -> str:
    """An open box: a floor and four walls of 6 mm."""
    t, h = 0.003, high / 2
    walls = "".join(
        f'<geom type="box" pos="{px} {py} {h}" size="{sx} {sy} {h}"/>'
        for px, py, sx, sy in (
            (half - t, 0, t, half),
            (t - half, 0, t, half),
            (0, half - t, half - 2 * t, t),
            (0, t - half, half - 2 * t, t),
        )
    )
    floor = f'<geom type="box" pos="0 0 {t}" size="{half - 2 * t} {half - 2 * t} {t}"/>'
    return f'<body name="{name}" pos="{x} {y} 0"><freejoint/>{floor}{walls}</body>'


def table_of(name: str, *things: str) -> str:
    return f'<mujoco model="{name}"><worldbody>{TABLE}{"".join(things)}</worldbody></mujoco>'


BLOCKS = table_of(
    "blocks",
    block("wide_block", -0.15, -0.1, (0.05, 0.035, 0.02)),
    block("red_block", 0.1, -0.12, (0.025, 0.025, 0.02)),
    block("blue_block", -0.05, 0.1, (0.025, 0.025, 0.02)),
    block("tall_block", 0.15, 0.1, (0.025, 0.025, 0.045)),
)
TRAYS = table_of(
    "trays",
    tray("left_tray", -0.2, 0.12),
    tray("right_tray", 0.2, 0.12),
    block("red_block", -0.08, -0.08, (0.02, 0.02, 0.02)),
    block("blue_block", 0.02, -0.12, (0.02, 0.02, 0.02)),
    block("tall_block", 0.12, -0.06, (0.02, 0.025, 0.045)),
)
PEG_M = 0.014  # half the width of the square pegs


def socket(name: str, x: float, y: float, play: float) -> str:
    """A block of 8 cm with a square hole that is wider than the pegs by `play` [m], closed below."""
    hole, half, high = PEG_M + play / 2, 0.04, 0.045
    t = (half - hole) / 2
    walls = "".join(
        f'<geom type="box" pos="{px:.6f} {py:.6f} {high / 2}" size="{sx:.6f} {sy:.6f} {high / 2}" mass="0.4"/>'
        for px, py, sx, sy in (
            (hole + t, 0, t, half),
            (-hole - t, 0, t, half),
            (0, hole + t, hole, t),
            (0, -hole - t, hole, t),
        )
    )
    floor = f'<geom type="box" pos="0 0 0.004" size="{hole:.6f} {hole:.6f} 0.004" mass="0.05"/>'
    return f'<body name="{name}" pos="{x} {y} 0"><freejoint/>{floor}{walls}</body>'


PEGS = table_of(
    "pegs",
    block("square_peg", 0.0, -0.12, (PEG_M, PEG_M, 0.045)),
    socket("loose_socket", -0.18, 0.05, 0.0025),
    socket("medium_socket", 0.0, 0.08, 0.001),
    socket("tight_socket", 0.18, 0.05, 0.0003),
)
WIPING = table_of(
    "wiping", block("sponge", 0.0, -0.12, (0.045, 0.03, 0.02)), block("soap_box", 0.1, 0.1, (0.03, 0.02, 0.03))
)
CUP_M = 0.024  # inner radius


def cup(name: str, x: float, y: float, high: float = 0.13) -> str:
    """Twelve staves and a floor."""
    t, n = 0.002, 12
    half = (CUP_M + 2 * t) * np.tan(np.pi / n)
    staves = "".join(
        f'<geom type="box" pos="{(CUP_M + t) * np.cos(a):.6f} {(CUP_M + t) * np.sin(a):.6f} {high / 2}" '
        f'euler="0 0 {a:.6f}" size="{t} {half:.6f} {high / 2}" mass="0.008"/>'
        for a in np.arange(n) * 2 * np.pi / n
    )
    floor = f'<geom type="cylinder" pos="0 0 0.003" size="{CUP_M} 0.003" mass="0.02"/>'
    return f'<body name="{name}" pos="{x} {y} 0"><freejoint/>{floor}{staves}</body>'


CUPS = table_of("cups", cup("cup", 0.0, -0.1), tray("bowl", 0.0, 0.12, half=0.07, high=0.05)).replace(
    "<worldbody>", '<compiler angle="radian"/><worldbody>'
)
GRAINS = 20
SINGLE: tuple[Family, ...] = ("lift", "place_region", "place_beside", "place_on", "place_into")
MADE: dict[str, tuple[Callable[[Path], SimScene], tuple[Family, ...]]] = {
    "blocks": (lambda folder: imported(BLOCKS, folder), (*SINGLE, "stack", "rearrange", "chain")),
    "pegs": (lambda folder: imported(PEGS, folder), ("insert",)),
    "wiping": (lambda folder: imported(WIPING, folder), ("wipe",)),
    "cups": (lambda folder: imported(CUPS, folder), ("pour",)),
    "trays": (lambda folder: imported(TRAYS, folder), ("place_into", "sort")),
}
ON_CAPTURES: tuple[Family, ...] = (*SINGLE, "rearrange", "chain")


def cases(
    keep: Path | None = None, only: Sequence[str] = ()
) -> Iterable[tuple[str, Workcell, SimScene, tuple[Task, ...]]]:
    """family, workcell, scene, its tasks of that family: of every self-made scene and every capture that is there.

    only: families; () = all
    """
    folder = keep or scratch()
    for name, (make, families) in MADE.items():
        yield from _tasks(folder / "pick" / name, make, _chosen(families, only))
    for name in BOXED:
        if (captures() / name).exists():
            yield from _tasks(
                folder / name, lambda place, name=name: simscene_of(name, place), _chosen(ON_CAPTURES, only)
            )


def _chosen(families: tuple[Family, ...], only: Sequence[str]) -> tuple[Family, ...]:
    return tuple(family for family in families if not only or family in only)


def _tasks(
    folder: Path, make: Callable[[Path], SimScene], families: tuple[Family, ...]
) -> Iterable[tuple[str, Workcell, SimScene, tuple[Task, ...]]]:
    if not families:
        return
    if not (folder / "workcell/artifact.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        scene, place = make(folder), folder / "workcell"
        place.mkdir(parents=True, exist_ok=True)
        cfg = WorkcellConfig(grains={"cup": GRAINS} if "pour" in families else {})
        workcell(scene, SimulatorMujoco(), cfg, place).save(place)
    cell, scene = Workcell.load(folder / "workcell"), SimScene.load(folder / "simscene")
    place = folder / "tasks"
    place.mkdir(parents=True, exist_ok=True)
    try:
        offered = tasks(cell, scene, SimulatorMujoco(), TasksConfig(families=families), place)
    except InfeasibleError:
        return
    for family in families:
        found = tuple(task for task in offered.tasks if task.goal.family == family)
        if found:
            yield family, cell, scene, found
