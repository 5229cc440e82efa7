"""Scenes for tasks that move joints and push things: a control panel, boxes with lids, furniture, things on a table.

The panel and the boxes come as MJCF through `reconstructor import`, the furniture as `bench.scenes.rooms` makes it. All
go through the stages as a user's scene does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import trimesh

from bench.scenes.rooms import Room, cabinet, door_cabinet, drawer_cabinet
from bench.spine.settle import fresh, scratch
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core import backends
from blueprint.core.errors import InfeasibleError
from blueprint.model.artifacts import Articulation, Reconstruction, SimScene, Source, Workcell
from blueprint.model.task import Family, Task
from blueprint.stages.articulation import ArticulationConfig, articulation
from blueprint.stages.assets import AssetsConfig, assets
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.physics import PhysicsConfig, physics
from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction
from blueprint.stages.simscene import SimSceneConfig, simscene
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

TABLE = '<geom name="table" type="box" size="0.6 0.5 0.02" pos="0 0 -0.02"/>'
BUTTON = '<joint name="{name}_slide" type="slide" axis="0 1 0" range="0 0.008" stiffness="400" damping="4"/>'
# A console whose front (-y) has a knob with a grip, a valve with a cross, and two buttons.
PANEL = f"""<mujoco model="panel"><compiler angle="radian"/><worldbody>{TABLE}
  <body name="control_panel" pos="0 0.1 0.11">
    <geom type="box" size="0.2 0.05 0.11" mass="4"/>
    <body name="knob" pos="-0.13 -0.05 0.04">
      <joint name="knob_dial" type="hinge" axis="0 1 0" range="-2.4 2.4" damping="0.01" frictionloss="0.03"/>
      <geom type="cylinder" size="0.022 0.006" pos="0 -0.006 0" euler="1.5708 0 0" mass="0.02"/>
      <geom type="box" size="0.022 0.012 0.006" pos="0 -0.024 0" mass="0.02"/></body>
    <body name="valve" pos="-0.01 -0.05 0.03">
      <joint name="valve_stem" type="hinge" axis="0 1 0" range="-3.14 3.14" damping="0.02" frictionloss="0.08"/>
      <geom type="cylinder" size="0.01 0.02" pos="0 -0.02 0" euler="1.5708 0 0" mass="0.05"/>
      <geom type="box" size="0.04 0.008 0.008" pos="0 -0.048 0" mass="0.05"/>
      <geom type="box" size="0.008 0.008 0.04" pos="0 -0.048 0" mass="0.05"/></body>
    <body name="start_button" pos="0.11 -0.05 0.05">{BUTTON.format(name="start")}
      <geom type="cylinder" size="0.016 0.009" pos="0 -0.009 0" euler="1.5708 0 0" mass="0.02"/></body>
    <body name="stop_button" pos="0.11 -0.05 -0.02">{BUTTON.format(name="stop")}
      <geom type="cylinder" size="0.016 0.009" pos="0 -0.009 0" euler="1.5708 0 0" mass="0.02"/></body>
  </body></worldbody></mujoco>"""
CHEST_WALLS = "".join(
    f'<geom type="box" pos="{x} {y} 0" size="{sx} {sy} 0.06"/>'
    for x, y, sx, sy in (
        (0.12, 0, 0.005, 0.09),
        (-0.12, 0, 0.005, 0.09),
        (0, 0.085, 0.115, 0.005),
        (0, -0.085, 0.115, 0.005),
    )
)
# A box that stands free, its lid hinged at the back (+y): with a knob, or with an edge that juts out.
CHEST = """<body name="{name}" pos="{x} {y} 0.06"><freejoint/>
    <geom type="box" pos="0 0 -0.055" size="0.115 0.08 0.005"/>{walls}
    <body name="{name}_lid" pos="0 0.09 0.066">
      <joint name="{name}_hinge" type="hinge" axis="-1 0 0" range="0 1.75" damping="0.02" frictionloss="0.05"/>
      <geom type="box" pos="0 -0.1 0" size="0.13 0.1 0.005" mass="0.25"/>{knob}</body></body>"""
KNOB = '<geom type="box" pos="0 -0.17 0.02" size="0.03 0.006 0.015" mass="0.02"/>'


def chests() -> str:
    one = CHEST.format(name="lidded_box", x=-0.2, y=0.05, walls=CHEST_WALLS, knob=KNOB)
    two = CHEST.format(name="plain_chest", x=0.2, y=0.05, walls=CHEST_WALLS, knob="")
    return f'<mujoco model="chests"><compiler angle="radian"/><worldbody>{TABLE}{one}{two}</worldbody></mujoco>'


def furniture(folder: Path, kind: Callable[..., tuple[dict[str, trimesh.Trimesh], tuple]], seed: int) -> SimScene:
    """One small cabinet on a table, with two things beside it."""
    made = Room(folder, np.random.default_rng(seed))
    parts, joints = kind(0.34, 0.26, 0.3)
    for name in {"door"} & {*parts}:
        parts[name].apply_scale((1.0, 1.0, 0.97))  # a door does not rub on the table
    whole = trimesh.util.concatenate(list(parts.values()))
    made.put("cabinet", whole, (0.0, 0.2, 0.0), parts=parts, joints=joints, anchored=True)
    return simscene_of(*made.finish(), folder)


def things(folder: Path) -> SimScene:
    """What is pushed and pulled: a flat book, a box wider than the gripper, a can, a narrow box."""
    made = Room(folder, np.random.default_rng(3))
    made.put("book", trimesh.creation.box((0.15, 0.11, 0.03)), (-0.15, 0.05, 0.0), 0.3)
    made.put("big box", trimesh.creation.box((0.12, 0.1, 0.09)), (0.13, 0.1, 0.0), -0.4)
    made.put("soup can", trimesh.creation.cylinder(0.033, 0.1, sections=48), (-0.02, -0.12, 0.0))
    made.put("tea box", trimesh.creation.box((0.06, 0.09, 0.07)), (0.2, -0.12, 0.0), 0.8)
    return simscene_of(*made.finish(), folder)


def imported(mjcf: str, folder: Path) -> SimScene:
    """An MJCF text through capture, import, assets and articulation, as the command line runs them."""
    source = folder / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "scene.xml").write_text(mjcf)
    out = {part: fresh(folder / part) for part in ("capture", "reconstruction", "assets", "articulation")}
    taken = capture(Source(location=str(source), digest="bench"), CaptureConfig(), out["capture"]).save(out["capture"])
    reader = backends.find("reconstructor", "import").load()
    scene = reconstruction(taken, reader, ReconstructionConfig(), out["reconstruction"]).save(out["reconstruction"])
    made = assets(taken, scene, AssetsConfig(), out["assets"]).save(out["assets"])
    moving = articulation(made, ArticulationConfig(), out["articulation"]).save(out["articulation"])
    return simscene_of(moving, scene, folder)


def simscene_of(moving: Articulation, scene: Reconstruction, folder: Path) -> SimScene:
    solid = physics(moving, scene, SimulatorMujoco(), PhysicsConfig(), fresh(folder / "physics"))
    solid.save(folder / "physics")
    return simscene(scene, solid, SimSceneConfig(), fresh(folder / "simscene")).save(folder / "simscene")


def room_cabinet(folder: Path) -> SimScene:
    """A cabinet of `bench.scenes.rooms`, with things on top and beside it."""
    made = Room(folder, np.random.default_rng(17))
    cabinet(made)
    return simscene_of(*made.finish(), folder)


OPENS: tuple[Family, ...] = ("open", "close")
CASES: dict[str, tuple[Callable[[Path], SimScene], tuple[Family, ...]]] = {
    "panel": (lambda folder: imported(PANEL, folder), ("turn", "press")),
    "chests": (lambda folder: imported(chests(), folder), OPENS),
    "drawers": (lambda folder: furniture(folder, drawer_cabinet, 1), OPENS),
    "door": (lambda folder: furniture(folder, door_cabinet, 2), OPENS),
    "room": (room_cabinet, OPENS),
    "things": (things, ("push", "pull")),
}


def cases(
    keep: Path | None = None, only: Sequence[str] = ()
) -> Iterable[tuple[Family, Workcell, SimScene, tuple[Task, ...]]]:
    """family, workcell, scene, its tasks of that family. only: families; () = all"""
    for name, (make, families) in CASES.items():
        wanted = tuple(family for family in families if not only or family in only)
        if not wanted:
            continue
        folder = (keep or scratch()) / "contact" / name
        cell, scene = made(make, folder)
        try:
            offered = tasks(cell, scene, SimulatorMujoco(), TasksConfig(families=wanted), fresh(folder / "tasks"))
        except InfeasibleError:
            continue
        for family in wanted:
            found = tuple(task for task in offered.tasks if task.goal.family == family)
            if found:
                yield family, cell, scene, found


def made(make: Callable[[Path], SimScene], folder: Path) -> tuple[Workcell, SimScene]:
    """The scene and its workcell, made once per folder."""
    if not (folder / "workcell/artifact.json").exists():
        scene = make(fresh(folder))
        workcell(scene, SimulatorMujoco(), WorkcellConfig(), fresh(folder / "workcell")).save(folder / "workcell")
    return Workcell.load(folder / "workcell"), SimScene.load(folder / "simscene")
