"""Bodies and joints of an imported scene as objects: what moves together, its base, its parts, its frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import trimesh

from blueprint.formats.given.scene import GivenBody, GivenJoint, GivenScene, Surface, mapped
from blueprint.geometry.transforms import Array, invert, transform_points
from blueprint.model.categories import Category, category_of

MOUNT_M = 0.004  # radius of the ball that stands for a body without shape on which something moves
SHELL_M = 2.5  # what has no name and is longer is part of the room
SHEET = 0.002  # so thin, as share of its length, is a wall or a floor, not an object

Kind = Literal["object", "static"]


@dataclass(frozen=True)
class Piece:
    """Bodies that hold together. T: (4, 4) of the first; surfaces: in that frame; mount: it had no surface."""

    name: str
    T: Array
    surfaces: tuple[Surface, ...]
    mass_kg: float | None
    mount: bool = False


@dataclass(frozen=True)
class Thing:
    """One object or fixed thing. pieces: the first is the base; joints: parent and child are numbers of pieces.

    anchored: as the file says, None = it does not
    """

    name: str
    text: str
    category: Category | None
    confidence: float
    pieces: tuple[Piece, ...]
    joints: tuple[GivenJoint, ...]
    kind: Kind
    anchored: bool | None
    friction: float | None

    @property
    def world(self) -> Array:
        """(N, 3) all vertices in the world."""
        return np.concatenate([transform_points(p.T, s.vertices) for p in self.pieces for s in p.surfaces])


def things_of(scene: GivenScene) -> tuple[list[Thing], list[str]]:
    """All objects and statics in the file's order, and what could not be kept."""
    notes: list[str] = []
    held = _groups(len(scene.bodies), [joint for joint in scene.joints if joint.type == "fixed" and joint.parent >= 0])
    moving = [
        replace(joint, parent=held[joint.parent] if joint.parent >= 0 else -1, child=held[joint.child])
        for joint in scene.joints
        if joint.type != "fixed"
    ]
    whole = _groups(len(scene.bodies), [j for j in scene.joints if j.parent >= 0])
    to_world = {held[joint.child] for joint in scene.joints if joint.parent < 0}
    things = []
    for first in sorted(set(whole)):
        members = sorted({held[i] for i in range(len(scene.bodies)) if whole[i] == first})
        bodies = {number: [b for i, b in enumerate(scene.bodies) if held[i] == number] for number in members}
        joints = [joint for joint in moving if joint.child in bodies]
        thing = _thing(bodies, joints, to_world & set(members), notes)
        if thing is not None:
            things.append(thing)
    return things, notes


def _groups(count: int, joints: Sequence[GivenJoint]) -> list[int]:
    """For every body the lowest number of those it is joined with."""
    group = list(range(count))

    def top(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    for joint in joints:
        a, b = top(joint.parent), top(joint.child)
        group[max(a, b)] = min(a, b)
    return [top(i) for i in range(count)]


def _thing(
    bodies: dict[int, list[GivenBody]], joints: list[GivenJoint], to_world: set[int], notes: list[str]
) -> Thing | None:
    inner = [joint for joint in joints if joint.parent >= 0 and joint.parent != joint.child]
    outer = [joint for joint in joints if joint.parent < 0]
    base = _base(bodies, inner, to_world)
    order, kept = _tree(base, inner, notes)
    pieces = [_piece(bodies[number]) for number in order]
    if outer and outer[0].child == base:  # it moves on the world itself: something must stand for its place there
        name = pieces[0].name
        notes.append(f"{name} moves on the world itself: a ball of {1000 * MOUNT_M:g} mm stands for its mount")
        pieces.insert(0, _mount(f"{name}_mount", outer[0]))
        kept = [
            replace(outer[0], parent=0, child=1),
            *(replace(j, parent=j.parent + 1, child=j.child + 1) for j in kept),
        ]
    pieces, kept = _with_surfaces(pieces, kept)
    if not any(not piece.mount for piece in pieces):
        return None
    members = [body for group in bodies.values() for body in group]
    named = next((body for body in bodies[base] if body.label), bodies[base][0])
    text = named.label or named.name
    found = category_of(text) or category_of(named.name)
    fixed = True if to_world or any(body.fixed for body in members) else members[0].fixed
    friction = [body.friction for body in members if body.friction is not None]
    thing = Thing(
        name=named.name,
        text=text,
        category=found[0] if found else None,
        confidence=found[1] if found else 0.0,
        pieces=tuple(pieces),
        joints=tuple(kept),
        kind="object",
        anchored=fixed,
        friction=max(friction) if friction else None,
    )
    return replace(thing, kind=_kind(thing), anchored=_anchored(thing))


def _base(bodies: dict[int, list[GivenBody]], joints: list[GivenJoint], to_world: set[int]) -> int:
    """What is fixed to the world, else what is nobody's child, else what weighs or is named first."""
    fixed = [number for number, group in bodies.items() if number in to_world or any(b.fixed for b in group)]
    children = {joint.child for joint in joints}
    free = [number for number in bodies if number not in children]
    return (fixed or free or sorted(bodies))[0]


def _tree(base: int, joints: list[GivenJoint], notes: list[str]) -> tuple[list[int], list[GivenJoint]]:
    """Pieces from the base outward, and each joint between them; one given from child to parent turns the other way."""
    order, kept, left = [base], list[GivenJoint](), list(joints)
    while True:
        found = next((j for j in left if (j.parent in order) != (j.child in order)), None)
        if found is None:
            break
        left.remove(found)
        x, y, z = found.axis
        if found.parent not in order:
            found = replace(found, parent=found.child, child=found.parent, axis=(-x, -y, -z))
        kept.append(replace(found, parent=order.index(found.parent), child=len(order)))
        order.append(found.child)
    notes += [f"joint {joint.name} closes a loop; it is left out" for joint in left]
    return order, kept


def _piece(group: list[GivenBody]) -> Piece:
    T = group[0].T
    surfaces = tuple(mapped(surface, invert(T) @ body.T) for body in group for surface in body.surfaces)
    masses = [body.mass_kg for body in group if body.mass_kg is not None]
    return Piece(group[0].name, T, surfaces, sum(masses) if masses else None)


def _mount(name: str, joint: GivenJoint) -> Piece:
    T = np.eye(4)
    T[:3, 3] = joint.origin
    return Piece(name, T, (_ball(),), None, mount=True)


def _ball() -> Surface:
    ball = trimesh.creation.icosphere(1, MOUNT_M)
    return Surface(np.asarray(ball.vertices, dtype=float), np.asarray(ball.faces, dtype=np.int64))


def _with_surfaces(pieces: list[Piece], joints: list[GivenJoint]) -> tuple[list[Piece], list[GivenJoint]]:
    """Pieces without shape at the end of a chain go; those on which something moves get a small ball."""
    while True:
        parents = {joint.parent for joint in joints}
        bare = [i for i, piece in enumerate(pieces) if not piece.surfaces and i not in parents]
        if not bare or len(pieces) == 1:
            break
        gone = bare[-1]
        pieces = pieces[:gone] + pieces[gone + 1 :]
        joints = [
            replace(j, parent=j.parent - (j.parent > gone), child=j.child - (j.child > gone))
            for j in joints
            if j.child != gone
        ]
    return [piece if piece.surfaces else replace(piece, surfaces=(_ball(),), mount=True) for piece in pieces], joints


def _kind(thing: Thing) -> Kind:
    """What the file lets move is an object, what it fixes is not. Where it says nothing of physics: rooms and furniture
    that carries are fixed; so is what is too large or too thin to be a thing."""
    if thing.joints or thing.anchored is False:
        return "object"
    if thing.anchored:
        return "static"
    sides = np.sort(np.ptp(thing.world, axis=0))
    if thing.category is not None:
        return (
            "static" if thing.category.role in ("scene_shell", "background") or _carries(thing.category) else "object"
        )
    return "static" if sides[2] > SHELL_M or (sides[0] < SHEET * sides[2] and sides[2] > 0.5) else "object"


def _carries(category: Category) -> bool:
    return category.role == "static" and category.anchored


def _anchored(thing: Thing) -> bool | None:
    if thing.anchored is None and not thing.joints and thing.category is not None and thing.category.anchored:
        return True
    return thing.anchored
