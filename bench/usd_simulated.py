"""A MuJoCo model built from nothing but a USD file, read through USD's own physics parser: no line of our writers.

Serves where Newton is not installed, to see that a scene's USD carries everything that its rest depends on. Contacts
are MuJoCo's with the solver settings of our MJCF, since UsdPhysics has no word for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from pxr import Gf, Usd, UsdGeom, UsdPhysics, UsdShade

Array = NDArray[np.float64]

SOLREF, SOLIMP, SLOW_FRICTION = (0.01, 1.0), (0.97, 0.995, 0.001, 0.5, 2.0), (0.005, 0.0001)


@dataclass(frozen=True)
class _Reader:
    stage: Usd.Stage
    spec: mujoco.MjSpec
    cache: UsdGeom.XformCache

    def matrix(self, prim: Usd.Prim) -> Array:
        """(4, 4) world matrix for column vectors; a scale stays in it."""
        return np.array(self.cache.GetLocalToWorldTransform(prim)).T


def settle_usd(path: Path, seconds: float) -> dict[str, Array]:
    """Where every body is after that time, by the display name of its prim."""
    model = model_of(path)
    data = mujoco.MjData(model)
    while data.time < seconds:
        mujoco.mj_step(model, data)
    mujoco.mj_kinematics(model, data)
    moving = [body for body in range(1, model.nbody) if model.body_weldid[body] != 0]
    return {model.body(body).name: data.xpos[body].copy() for body in moving}


def model_of(path: Path) -> mujoco.MjModel:
    stage = Usd.Stage.Open(str(path))
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.integrator, spec.option.cone = mujoco.mjtIntegrator.mjINT_IMPLICITFAST, mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 50.0
    reader = _Reader(stage, spec, UsdGeom.XformCache(Usd.TimeCode.Default()))
    prims = list(stage.Traverse())
    bodies = {prim.GetPath(): prim for prim in prims if prim.HasAPI(UsdPhysics.RigidBodyAPI)}
    joints = [UsdPhysics.Joint(prim) for prim in prims if prim.IsA(UsdPhysics.Joint)]
    made: dict[object, mujoco.MjsBody] = {}
    inward = {joint.GetBody1Rel().GetTargets()[0]: joint for joint in joints}  # the joint that a body hangs on
    while len(made) < len(bodies):
        before = len(made)
        for at, prim in bodies.items():
            joint = inward.get(at)
            parents = joint.GetBody0Rel().GetTargets() if joint else []
            if at not in made and (not parents or parents[0] in made):
                parent = bodies[parents[0]] if parents else None
                made[at] = _body(reader, prim, joint, parent, made[parents[0]] if parents else spec.worldbody)
        if len(made) == before:
            raise ValueError("the joints form a circle")
    for prim in prims:
        if prim.HasAPI(UsdPhysics.CollisionAPI) and not _soft(prim):
            _geom(reader, prim, bodies, made)
    for joint in joints:  # UsdPhysics: bodies that a joint connects do not collide unless it says so
        ends = [*joint.GetBody0Rel().GetTargets(), *joint.GetBody1Rel().GetTargets()]
        if len(ends) == 2 and not joint.GetCollisionEnabledAttr().Get():
            spec.add_exclude(bodyname1=made[ends[0]].name, bodyname2=made[ends[1]].name)
    return spec.compile()


def _body(
    reader: _Reader,
    prim: Usd.Prim,
    joint: UsdPhysics.Joint | None,
    parent: Usd.Prim | None,
    above: mujoco.MjsBody,
) -> mujoco.MjsBody:
    T = reader.matrix(prim)
    if parent is not None:
        T = np.linalg.inv(reader.matrix(parent)) @ T
    body = above.add_body(name=prim.GetDisplayName() or prim.GetName(), pos=T[:3, 3], quat=_quat(T[:3, :3]))
    mass = UsdPhysics.MassAPI(prim)
    body.mass, body.ipos = mass.GetMassAttr().Get(), np.array(mass.GetCenterOfMassAttr().Get(), dtype=float)
    body.inertia = np.array(mass.GetDiagonalInertiaAttr().Get(), dtype=float)
    axes = mass.GetPrincipalAxesAttr().Get()
    body.iquat = [axes.GetReal(), *axes.GetImaginary()]
    body.explicitinertial = True
    if joint is None:
        body.add_freejoint()
    elif not joint.GetPrim().IsA(UsdPhysics.FixedJoint):
        _joint(body, joint)
    return body


def _joint(body: mujoco.MjsBody, joint: UsdPhysics.Joint) -> None:
    prim = joint.GetPrim()
    revolute = prim.IsA(UsdPhysics.RevoluteJoint)
    limits = UsdPhysics.RevoluteJoint(prim) if revolute else UsdPhysics.PrismaticJoint(prim)
    scale = np.pi / 180 if revolute else 1.0
    rotation = np.array(Gf.Matrix3d(Gf.Quatd(joint.GetLocalRot1Attr().Get()))).T
    drive = UsdPhysics.DriveAPI(prim, "angular" if revolute else "linear")
    body.add_joint(
        type=mujoco.mjtJoint.mjJNT_HINGE if revolute else mujoco.mjtJoint.mjJNT_SLIDE,
        pos=np.array(joint.GetLocalPos1Attr().Get(), dtype=float),
        axis=rotation @ np.eye(3)["XYZ".index(limits.GetAxisAttr().Get())],
        limited=1,
        range=[limits.GetLowerLimitAttr().Get() * scale, limits.GetUpperLimitAttr().Get() * scale],
        damping=[drive.GetDampingAttr().Get() / scale] * 3,
    )


def _geom(reader: _Reader, prim: Usd.Prim, bodies: dict[object, Usd.Prim], made: dict[object, mujoco.MjsBody]) -> None:
    owner = prim
    while owner and owner.GetPath() not in bodies:
        owner = owner.GetParent()
    body, T = reader.spec.worldbody, reader.matrix(prim)
    if owner:
        body, T = made[owner.GetPath()], np.linalg.inv(reader.matrix(owner)) @ T
    scale = np.linalg.norm(T[:3, :3], axis=0)
    geom = body.add_geom(pos=T[:3, 3], quat=_quat(T[:3, :3] / scale))
    if prim.IsA(UsdGeom.Mesh):
        name = str(prim.GetPath())
        points = np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get(), dtype=float) * scale
        reader.spec.add_mesh(name=name, uservert=points.ravel(), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
        geom.type, geom.meshname = mujoco.mjtGeom.mjGEOM_MESH, name
    elif prim.IsA(UsdGeom.Cube):
        geom.type = mujoco.mjtGeom.mjGEOM_BOX
        geom.size = scale * UsdGeom.Cube(prim).GetSizeAttr().Get() / 2
    elif prim.IsA(UsdGeom.Cylinder):
        shape = UsdGeom.Cylinder(prim)
        geom.type = mujoco.mjtGeom.mjGEOM_CYLINDER
        geom.size = [shape.GetRadiusAttr().Get(), shape.GetHeightAttr().Get() / 2, 0]
    elif prim.IsA(UsdGeom.Sphere):
        geom.type, geom.size = mujoco.mjtGeom.mjGEOM_SPHERE, [UsdGeom.Sphere(prim).GetRadiusAttr().Get(), 0, 0]
    elif prim.IsA(UsdGeom.Plane):
        geom.type, geom.size = mujoco.mjtGeom.mjGEOM_PLANE, [0, 0, 0.1]
    else:
        raise ValueError(f"{prim.GetPath()}: no collider of type {prim.GetTypeName()}")
    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial("physics")
    friction = UsdPhysics.MaterialAPI(material.GetPrim()).GetDynamicFrictionAttr().Get()
    geom.condim, geom.friction = 4, [friction, *SLOW_FRICTION]
    geom.solref, geom.solimp = SOLREF, SOLIMP


def _soft(prim: Usd.Prim) -> bool:
    """A deformable: no rigid reader simulates it."""
    applied = prim.GetMetadata("apiSchemas")
    return any(name.startswith("OmniPhysics") for name in applied.GetAppliedItems())


def _quat(rotation: Array) -> Array:
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(rotation).ravel())
    return quat
