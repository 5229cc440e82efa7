"""A workcell made by hand in a second: the toys as plain solids on a slab, and the Panda at a fixed place."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from blueprint.backends.robots import mjcf as robot_mjcf
from blueprint.backends.robots import registry as robots
from blueprint.core.errors import BackendError
from blueprint.model.artifacts import Workcell
from blueprint.model.scene import SceneBody
from blueprint.model.spatial import Pose
from blueprint.skills.cell import Cell
from toys import BOWL, TABLE, Toy, quat, toys

MASS_KG = {"cracker_box": 0.4, "soup_can": 0.35, "mustard_bottle": 0.5, "bowl": 0.15}
BASE = (-0.62, 0.0, 0.0)


def panda() -> robots.InstalledRobot:
    """The installed robot; skips the test where it can be neither found nor fetched."""
    try:
        return robots.ensure("franka_panda")
    except BackendError as error:
        pytest.skip(f"needs the Panda: {error.message}")


def make_workcell(out: Path) -> Workcell:
    installed = panda()
    scene = out / "scene"
    scene.mkdir(parents=True)
    (scene / "scene.xml").write_text(_scene().to_xml())
    T = np.eye(4)
    T[:3, 3] = BASE
    arm = robot_mjcf.mount(scene / "scene.xml", installed, T, 0.7, out)
    bodies = tuple(_body(toy) for toy in toys())
    return Workcell(
        robot=arm,
        bodies=bodies,
        cameras=("scene", "wrist"),
        table_polygon=TABLE,
        reachable={body.name: True for body in bodies},
    ).save(out)


def cell_of(made: Workcell) -> Cell:
    return Cell.load(made.path(made.mjcf), made.robot, tuple(body.name for body in made.bodies))


def _body(toy: Toy) -> SceneBody:
    dims = tuple(toy.dims.tolist())
    pose = Pose(position=toy.position, quat_wxyz=quat(toy.yaw_deg))
    mass = MASS_KG[toy.name]
    path = f"/World/{toy.name}"
    return SceneBody(
        name=toy.name, text=toy.text, prim_path=path, mass_kg=mass, dims_m=dims, pose=pose, collider_count=1
    )


def _scene() -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 50.0
    world, kinds = spec.worldbody, mujoco.mjtGeom
    world.add_camera(name="scene", pos=[0.05, -0.65, 0.5])
    slab = world.add_body(name="table")
    slab.add_geom(name="table", type=kinds.mjGEOM_BOX, size=[0.45, 0.35, 0.015], pos=[0, 0, -0.015])
    for toy in toys():
        body = world.add_body(name=toy.name, pos=toy.position, quat=quat(toy.yaw_deg))
        body.add_freejoint(name=toy.name)
        pieces = _pieces(toy)
        for k, piece in enumerate(pieces):
            name = f"{toy.name}_{k}"
            spec.add_mesh(name=name, uservert=piece.flatten())
            body.add_geom(type=kinds.mjGEOM_MESH, meshname=name, mass=MASS_KG[toy.name] / len(pieces), group=3)
    spec.compile()
    return spec


def _pieces(toy: Toy) -> list[np.ndarray]:
    """Convex pieces; the bowl's wall in 16 staves."""
    points = np.unique(toy.vertices.round(6), axis=0)
    if toy.name != "bowl":
        return [points]
    r, z = np.array(BOWL).T
    z = z - z.max() / 2
    angle = np.linspace(0, 2 * np.pi, 17)
    ring = lambda k, j: np.array([r[k] * np.cos(angle[j]), r[k] * np.sin(angle[j]), z[k]])  # noqa: E731
    staves = [np.array([ring(k, j) for k in (1, 2, 3, 4) for j in (i, i + 1)]) for i in range(16)]
    return [*staves, np.array([ring(k, j) for k in (1, 4) for j in range(16)])]
