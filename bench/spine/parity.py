"""Bars: `scene.usda`, read by USD's own physics parser, says the same as `scene.xml` compiled by MuJoCo.

    python -m bench.spine.parity [CAPTURE ...] [--keep DIR]

The parser (UsdPhysics.UsdPhysicsLoadStageFromPrimRange) shares no code with our writer.
UsdValidation judges the file as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from pxr import Gf, Usd, UsdGeom, UsdPhysics, UsdShade, UsdValidation

from bench.rows import Row
from bench.spine.settle import BOXED, ISOLATED, scratch, simscene_of

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Body:
    """A rigid body as one reader sees it. T: (4, 4) world pose; inertia: (3, 3) about `com`, object axes."""

    mass: float
    T: NDArray[np.float64]
    com: NDArray[np.float64]
    inertia: NDArray[np.float64]
    friction: float
    colliders: int


def bodies_of_usd(path: Path) -> dict[str, Body]:
    """Rigid bodies of a USD file by name."""
    stage = Usd.Stage.Open(str(path))
    parsed = UsdPhysics.UsdPhysicsLoadStageFromPrimRange(stage, [stage.GetPseudoRoot().GetPath()])
    bodies = {}
    for prim_path, description in zip(*parsed[UsdPhysics.ObjectType.RigidBody], strict=True):
        prim = stage.GetPrimAtPath(prim_path)
        mass = UsdPhysics.MassAPI(prim)
        rotation = _matrix(mass.GetPrincipalAxesAttr().Get())
        T = np.eye(4)
        T[:3, :3] = _matrix(description.rotation)
        T[:3, 3] = description.position
        shapes = [stage.GetPrimAtPath(shape) for shape in description.collisions]
        bodies[prim.GetDisplayName() or prim.GetName()] = Body(
            mass=mass.GetMassAttr().Get(),
            T=T,
            com=np.array(mass.GetCenterOfMassAttr().Get(), dtype=float),
            inertia=rotation @ np.diag(mass.GetDiagonalInertiaAttr().Get()) @ rotation.T,
            friction=_friction(shapes[0]),
            colliders=len(shapes),
        )
    return bodies


def _matrix(quat: Gf.Quatf) -> NDArray[np.float64]:
    return np.array(Gf.Matrix3d(Gf.Quatd(quat))).T  # USD multiplies row vectors


def _friction(shape: Usd.Prim) -> float:
    material, _ = UsdShade.MaterialBindingAPI(shape).ComputeBoundMaterial("physics")
    return UsdPhysics.MaterialAPI(material.GetPrim()).GetDynamicFrictionAttr().Get()


def bodies_of_mjcf(path: Path) -> dict[str, Body]:
    """Free bodies of an MJCF file by name, at its keyframe."""
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_kinematics(model, data)
    bodies = {}
    for joint in range(model.njnt):
        body = model.jnt_bodyid[joint]
        T = np.eye(4)
        T[:3, :3] = data.xmat[body].reshape(3, 3)
        T[:3, 3] = data.xpos[body]
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, model.body_iquat[body])
        rotation = rotation.reshape(3, 3)
        geoms = [g for g in range(model.ngeom) if model.geom_bodyid[g] == body and model.geom_contype[g]]
        bodies[model.body(body).name] = Body(
            mass=model.body_mass[body],
            T=T,
            com=model.body_ipos[body],
            inertia=rotation @ np.diag(model.body_inertia[body]) @ rotation.T,
            friction=model.geom_friction[geoms[0], 0],
            colliders=len(geoms),
        )
    return bodies


def static_colliders_of_usd(path: Path) -> int:
    stage = Usd.Stage.Open(str(path))
    shapes = [prim for prim in stage.Traverse() if prim.HasAPI(UsdPhysics.CollisionAPI)]
    return sum(not _below_body(prim) for prim in shapes)


def _below_body(prim: Usd.Prim) -> bool:
    while prim:
        if prim.HasAPI(UsdPhysics.RigidBodyAPI):
            return True
        prim = prim.GetParent()
    return False


def static_colliders_of_mjcf(path: Path) -> int:
    model = mujoco.MjModel.from_xml_path(str(path))
    return sum(bool(model.geom_contype[g]) and model.body_weldid[model.geom_bodyid[g]] == 0 for g in range(model.ngeom))


def disagreement(usd: Path, mjcf: Path) -> dict[str, float]:
    """Largest difference of each quantity; inertia relative to the largest moment. 1 or more where bodies differ."""
    a, b = bodies_of_usd(usd), bodies_of_mjcf(mjcf)
    found = {
        "bodies": float(len(set(a) ^ set(b))),
        "colliders": float(abs(static_colliders_of_usd(usd) - static_colliders_of_mjcf(mjcf))),
    }
    for name in sorted(set(a) & set(b)):
        u, m = a[name], b[name]
        differences = {
            "colliders": abs(u.colliders - m.colliders),
            "mass": abs(u.mass - m.mass),
            "pose": abs(u.T - m.T).max(),
            "center": abs(u.com - m.com).max(),
            "inertia": abs(u.inertia - m.inertia).max() / abs(m.inertia).max(),
            "friction": abs(u.friction - m.friction),
        }
        for quantity, value in differences.items():
            found[quantity] = max(found.get(quantity, 0.0), float(value))
    return found


def faults(path: Path) -> list[str]:
    """What UsdValidation holds against a file: errors of all its validators."""
    stage = Usd.Stage.Open(str(path))
    registry = UsdValidation.ValidationRegistry()
    validators = registry.GetOrLoadAllValidators()
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    return sorted(f"{error.GetName()}: {error.GetMessage()}" for error in errors)


def units(path: Path) -> tuple[str, float, float]:
    stage = Usd.Stage.Open(str(path))
    return (
        UsdGeom.GetStageUpAxis(stage),
        UsdGeom.GetStageMetersPerUnit(stage),
        UsdPhysics.GetStageKilogramsPerUnit(stage),
    )


def rows(names: Sequence[str] = BOXED + ISOLATED, keep: Path | None = None) -> Iterable[Row]:
    for name in names:
        scene = simscene_of(name, (keep or scratch()) / name)
        usd, mjcf = scene.path(scene.usd), scene.path(scene.mjcf)
        worst = disagreement(usd, mjcf)
        invalid = faults(usd)
        passed = max(worst.values()) <= TOLERANCE and not invalid and units(usd) == ("Z", 1.0, 1.0)
        at = max(worst, key=lambda quantity: worst[quantity])
        measured = f"{worst[at]:.1e} ({at}), {len(scene.bodies)} bodies, {len(invalid)} faults"
        yield Row(f"USD = MJCF {name}", measured, f"<= {TOLERANCE:g}, 0 faults", passed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=BOXED + ISOLATED)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    for row in rows(tuple(arguments.names), arguments.keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
