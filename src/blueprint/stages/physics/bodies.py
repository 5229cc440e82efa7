"""What objects weigh, how they slide, and how their joints turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blueprint.core.errors import InputError
from blueprint.core.report import warn
from blueprint.geometry.colliders import pieces as shapes
from blueprint.geometry.inertia import inertia_tensor, solid_inertia, solid_moments
from blueprint.geometry.mesh import Mesh
from blueprint.model.artifacts import Articulation
from blueprint.model.materials import Material, material_for, named
from blueprint.model.scene import Inertia, Joint, ObjectAsset, PhysicalObject, PhysicalPart, Ranges, Sourced
from blueprint.model.softness import softness_of
from blueprint.stages.physics.colliding import Pieces, colliders_of, pieces_of
from blueprint.stages.physics.config import Override
from blueprint.stages.physics.soft import soft_body

USER = "user: physics.overrides"
SHOWS_WALLS = 0.6  # a mesh of less than this share of its hull shows the walls of a hollow thing
LEAST_MASS_KG = 0.001
TURN_S, SLIDE_S = 0.3, 0.2  # [s] a joint let go loses its speed in about this time: assumed of household joints
JOINT_FRICTION = 0.03  # friction force of a joint over the weight it carries: assumed, hinges and runners 0.01..0.1

# the earlier system's shares (its design document, "SimReady": mass 20 %, friction 15 %, restitution 30 %, centre of
# mass 5 % of the size), so that labs find the ranges they know
MASS_SHARE, FRICTION_SHARE, RESTITUTION_SHARE, CENTER_SHARE = 0.2, 0.15, 0.3, 0.05


def physical(
    asset: ObjectAsset, articulation: Articulation, override: Override, estimate: tuple[Material, str] | None, out: Path
) -> PhysicalObject:
    """The object before it has come to rest. estimate: an estimator's material and its source, if one was asked."""
    pieces = pieces_of(asset, articulation)
    material, source = material_of_object(asset, override, estimate)
    masses = _masses(asset, pieces, material, override)
    colliders, method = colliders_of(asset, out)
    if "failed" in method:
        warn(f"{asset.name}: {method}")
    soft, kind = None, softness_of(asset.text, asset.category) if override.soft is None else override.soft
    if kind is not None and kind != "no" and not pieces.moving and not asset.anchored:
        why = USER if override.soft is not None else f"{kind}: the name says so"
        soft, soft_mass = soft_body(asset, pieces.base, kind, why, out)
        given = override.mass_kg is not None or asset.mass_kg is not None
        masses = masses if given else {"": soft_mass}
    return PhysicalObject(
        asset=asset,
        material=material.name,
        material_source=source,
        mass_kg=masses[""],
        inertia=_inertia(asset.name, pieces.base, masses[""].value),
        friction=_friction(asset, material, override),
        restitution=Sourced(value=material.restitution, source=material.surface_source),
        colliders=colliders,
        collider_method=method,
        parts=_parts(asset, pieces, masses, out),
        soft=soft,
        ranges=ranges_of(asset, override),
        pose=asset.pose,
        moved_m=0.0,
        moved_deg=0.0,
    )


def material_of_object(
    asset: ObjectAsset, override: Override, estimate: tuple[Material, str] | None
) -> tuple[Material, str]:
    """The user's word first, then an estimator's, then the rules."""
    if override.material is not None:
        known = named(override.material)
        if known is not None:
            return known, USER
    return estimate or material_for(asset.text, asset.name, asset.category)


def ranges_of(asset: ObjectAsset, override: Override) -> Ranges:
    """What randomisation may vary; a mass or friction that was given or weighed varies a quarter as much."""
    known_mass = asset.mass_kg is not None or override.mass_kg is not None
    known_friction = asset.friction is not None or override.friction is not None
    mass = MASS_SHARE / (4 if known_mass else 1)
    friction = FRICTION_SHARE / (4 if known_friction else 1)
    known = [what for what, yes in (("mass", known_mass), ("friction", known_friction)) if yes]
    return Ranges(
        mass=(1 - mass, 1 + mass),
        friction=(1 - friction, 1 + friction),
        restitution=(1 - RESTITUTION_SHARE, 1 + RESTITUTION_SHARE),
        center_of_mass_m=CENTER_SHARE * min(asset.dims_m),
        source="20 % mass, 15 % friction, 30 % restitution, 5 % of the smallest side"
        + (f"; a quarter of that for the given {' and '.join(known)}" if known else ""),
    )


# ------------------------------------------------------------------ mass


def _masses(asset: ObjectAsset, pieces: Pieces, material: Material, override: Override) -> dict[str, Sourced]:
    """Mass of the base (named "") and of every moving part. A given total is shared out by estimated mass."""
    meshes = {"": pieces.base, **pieces.moving}
    given = {part.name: part.mass_kg for part in asset.parts if part.mass_kg is not None}
    masses = {name: _estimated(mesh, material) for name, mesh in meshes.items()}
    for name in pieces.moving:
        if name in given:
            masses[name] = Sourced(value=given[name], source="given with the asset")
    fixed = [part.name for part in asset.parts if part.name not in pieces.moving]
    if fixed and all(name in given for name in fixed):
        masses[""] = Sourced(value=sum(given[name] for name in fixed), source="given with the asset")
    total, source = override.mass_kg, USER
    if total is None:
        total, source = asset.mass_kg, "given with the asset"
        if total is not None and all("given" in mass.source for mass in masses.values()):
            return masses
    if total is None:
        return masses
    scale = total / sum(mass.value for mass in masses.values())
    if len(masses) == 1:
        return {"": Sourced(value=total, source=source)}
    return {name: Sourced(value=m.value * scale, source=f"{source}, shared by volume") for name, m in masses.items()}


def _estimated(mesh: Mesh, material: Material) -> Sourced:
    if material.areal:
        area = shapes.hull_area(mesh[0])
        source = f"hull surface {area * 1e4:.0f} cm^2 x {material.density:g} kg/m^2 ({material.density_source})"
        return Sourced(value=area * material.density, source=source)
    volume = _volume(mesh)
    density, of = material.density, f"effective density {material.density:g} kg/m^3 ({material.density_source})"
    if material.walls is not None and volume < SHOWS_WALLS * shapes.hull_volume(mesh[0]):
        density, of = material.walls, f"its walls' density {material.walls:g} kg/m^3"
    mass = max(volume * density, LEAST_MASS_KG)
    return Sourced(value=mass, source=f"volume {volume * 1e6:.0f} cm^3 x {of}")


def _volume(mesh: Mesh) -> float:
    """[m^3]; of the hull where the mesh encloses none."""
    try:
        return solid_moments(*mesh)[0]
    except InputError:
        return shapes.hull_volume(mesh[0])


def _inertia(name: str, mesh: Mesh, mass: float) -> Inertia:
    try:
        return solid_inertia(*mesh, mass)
    except InputError:
        warn(f"{name}: its mesh is no solid; mass is spread over its convex hull")
        return solid_inertia(*shapes.convex_hull(mesh[0]), mass)


def _friction(asset: ObjectAsset, material: Material, override: Override) -> Sourced:
    if override.friction is not None:
        return Sourced(value=override.friction, source=USER)
    if asset.friction is not None:
        return Sourced(value=asset.friction, source="given with the asset")
    return Sourced(value=material.friction, source=material.surface_source)


# ------------------------------------------------------------------ moving parts


def _parts(asset: ObjectAsset, pieces: Pieces, masses: dict[str, Sourced], out: Path) -> tuple[PhysicalPart, ...]:
    by_name = {part.name: part for part in asset.parts}
    made = []
    for joint in asset.joints:
        if joint.child not in pieces.moving:
            continue
        mass = masses[joint.child]
        inertia = _inertia(f"{asset.name}/{joint.child}", pieces.moving[joint.child], mass.value)
        colliders, method = colliders_of(asset, out, joint.child)
        made.append(
            PhysicalPart(
                part=by_name[joint.child],
                joint=with_resistance(joint, mass.value, inertia),
                mass_kg=mass,
                inertia=inertia,
                colliders=colliders,
                collider_method=method,
            )
        )
    return tuple(made)


def with_resistance(joint: Joint, mass: float, inertia: Inertia) -> Joint:
    """The joint with damping and friction: the asset's own, else what brings the part to rest in a fraction of a
    second, and a share of the weight it carries [N m s/rad, N m] or [N s/m, N]."""
    if joint.type == "prismatic":
        damping, friction = mass / SLIDE_S, JOINT_FRICTION * mass * 9.81
    else:
        axis = np.array(joint.axis) / np.linalg.norm(joint.axis)
        arm = np.cross(axis, np.array(inertia.center_of_mass) - joint.origin)
        about_axis = float(axis @ inertia_tensor(inertia) @ axis + mass * arm @ arm)
        damping = about_axis / TURN_S
        friction = JOINT_FRICTION * mass * 9.81 * max(float(np.linalg.norm(arm)), 0.005)
    return joint.model_copy(
        update={
            "damping": damping if joint.damping is None else joint.damping,
            "friction": friction if joint.friction is None else joint.friction,
        }
    )
