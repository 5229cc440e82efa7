"""Somebody else's scene as a reconstruction: every object a complete model with its joints, the rest fixed."""

from __future__ import annotations

import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.import_objects import Thing, things_of
from blueprint.backends.reconstruction.import_support import THIN_M, Ground, find_ground
from blueprint.core.errors import InputError
from blueprint.core.process import run_child
from blueprint.core.report import progress, warn
from blueprint.formats import images
from blueprint.formats.given.looks import mean_color, one_mesh
from blueprint.formats.given.meshes import read_meshes
from blueprint.formats.given.scene import GivenScene, mapped
from blueprint.formats.mjcf.read import read_mjcf
from blueprint.formats.obj import write_obj
from blueprint.formats.urdf_read import read_urdf
from blueprint.formats.usd.read import read_usd
from blueprint.geometry.segmentation.naming import slug
from blueprint.geometry.transforms import Array, invert, matrix_to_pose, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.scene import GivenModel, Instance, Joint, Part, StaticPart, Support

READERS = {
    **dict.fromkeys((".usd", ".usda", ".usdc"), read_usd),
    **dict.fromkeys((".glb", ".gltf", ".obj", ".stl", ".ply", ".dae"), read_meshes),
    ".xml": read_mjcf,
    ".urdf": read_urdf,
}
SECONDS = 300.0
READING_S = 50  # a stage that refers to itself ten times over never ends
MEMORY = 12 * 2**30  # address space; a broken file must not take the machine with it
RESERVED = ("table", "floor", "world")  # names of bodies that every scene has
MOST_OBJECTS = 1000
SUNK_M = 0.001  # a table under the support's slab, so that the two tops are not one


class ReconstructorImport:
    """Reads USD, GLB/glTF, OBJ, URDF and MJCF. World: z up, z = 0 where the objects stand."""

    name = "import"
    version = "1"

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises InputError for files that are broken, incomplete, or name others outside the scene.

        The work is done in a child: readers in C++ may crash or never end on a file made to do that.
        """
        if capture.kind != "scene" or capture.scene is None:
            raise InputError(
                f"a capture of kind {capture.kind} holds pictures, not a scene",
                "run.reconstructor=import reads USD, GLB, OBJ, URDF and MJCF; for pictures set another",
            )
        main = capture.path(capture.scene)
        root = capture.path("scene")
        outcome = run_child("import", lambda: _limited(root, main, out), timeout_s=SECONDS, log=out / "import.log")
        if outcome.crashed or (outcome.error is not None and not isinstance(outcome.error, InputError)):
            raise InputError(
                f"{main.name} brought its reader down: {getattr(outcome.error, 'message', '')}",
                "the file is broken or far too large: open it in the program that made it and export it again",
            )
        if outcome.error is not None:
            raise outcome.error
        (out / "import.log").unlink(missing_ok=True)
        return Reconstruction.model_validate(outcome.value)


def _limited(root: Path, main: Path, out: Path) -> dict[str, Any]:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the child, even inside a reader in C++
    signal.alarm(READING_S)
    scene = read_scene(root, main)
    signal.alarm(0)
    return build(scene, main.name, out).model_dump(mode="json")


def read_scene(root: Path, main: Path) -> GivenScene:
    """The file by its suffix. Raises InputError."""
    reader = READERS.get(main.suffix.lower())
    if reader is None:
        raise InputError(f"{main.name} is no scene that is read", f"one of {', '.join(sorted(READERS))}")
    return reader(root, main)


def build(scene: GivenScene, file: str, out: Path) -> Reconstruction:
    """Write given/ and statics/ below `out`; returns what they are. Raises InputError when nothing is an object."""
    things, notes = things_of(scene)
    objects = [thing for thing in things if thing.kind == "object"]
    if not 0 < len(objects) <= MOST_OBJECTS:
        raise InputError(
            f"{file} holds {len(objects)} objects (and {len(things) - len(objects)} things that are fixed)",
            f"between 1 and {MOST_OBJECTS} must be able to move: rigid bodies in USD, free joints in MJCF, named nodes",
        )
    for note in (*scene.notes, *notes):
        warn(f"{file}: {note}")
    ground = find_ground(things)
    shift = _shift(ground)
    taken: set[str] = set(RESERVED)
    instances = [
        _instance(thing, slug(thing.name, taken), number, shift, file, out)
        for number, thing in enumerate(progress(objects, len(objects), "import: objects"))
    ]
    statics = [
        _static(thing, slug(thing.name, taken), shift, SUNK_M * (things.index(thing) == ground.thing), out)
        for thing in things
        if thing.kind == "static" and not _is_slab(thing, things, ground)
    ]
    return Reconstruction(
        views=(),
        support=_support(ground, things, shift, out),
        instances=tuple(instances),
        statics=tuple(statics),
        depth_sigma_m=0.0,
        up_source=scene.up,
        scale_source=scene.unit,
    )


def _shift(ground: Ground) -> Array:
    """(4, 4) to z = 0 at the ground; sideways only where the origin lies off the ground."""
    T = np.eye(4)
    T[2, 3] = -ground.height
    low, high = ground.polygon.min(axis=0), ground.polygon.max(axis=0)
    if (low > 0).any() or (high < 0).any():
        T[:2, 3] = -(low + high) / 2
    return T


def _is_slab(thing: Thing, things: Sequence[Thing], ground: Ground) -> bool:
    """Whether a fixed thing is nothing but the support: the support takes its place."""
    return things.index(thing) == ground.thing and float(np.ptp(thing.world[:, 2])) <= THIN_M


# ------------------------------------------------------------------ objects


def _instance(thing: Thing, name: str, number: int, shift: Array, file: str, out: Path) -> Instance:
    folder = out / "given" / name
    folder.mkdir(parents=True)
    T = thing.pieces[0].T
    taken: set[str] = set()
    names = [slug(piece.name, taken) for piece in thing.pieces]
    parts = []
    for piece, part in zip(thing.pieces, names, strict=True):
        into = invert(T) @ piece.T
        texture = _write([mapped(surface, into) for surface in piece.surfaces], folder, part)
        parts.append(Part(name=part, mesh=f"given/{name}/{part}.obj", texture=texture, mass_kg=piece.mass_kg))
    masses = [part.mass_kg for part in parts]
    words, source = _words(thing, number)
    return Instance(
        name=name,
        label=0,
        text=words,
        text_source=source,  # type: ignore[arg-type]
        category=thing.category.key if thing.category else "",
        category_confidence=thing.confidence,
        mask_source="given",
        pixels=0,
        confidence=1.0,
        given=GivenModel(
            parts=tuple(parts),
            joints=_joints(thing, names, invert(T), file),
            pose=matrix_to_pose(shift @ T),
            mass_kg=None if None in masses else sum(mass for mass in masses if mass is not None),
            friction=thing.friction,
            anchored=thing.anchored,
            source=file,
        ),
    )


def _words(thing: Thing, number: int) -> tuple[str, str]:
    """The file's name for it as words; one that says nothing becomes `object N`."""
    text = " ".join("".join(c if c.isalnum() else " " for c in thing.text).split()).lower()
    kept = [word for word in text.split() if not word.isdigit()]
    if kept and (thing.category or not set(kept) <= {"mesh", "node", "geometry", "group", "object", "body", "geom"}):
        return " ".join(kept), "file"
    return f"object {number + 1}", "rule"


def _joints(thing: Thing, names: list[str], T_object_world: Array, file: str) -> tuple[Joint, ...]:
    taken: set[str] = set()
    out = []
    for joint in thing.joints:
        axis = T_object_world[:3, :3] @ np.array(joint.axis)
        x, y, z = (axis / np.linalg.norm(axis)).tolist()
        u, v, w = transform_points(T_object_world, np.array(joint.origin)).tolist()
        out.append(
            Joint(
                name=slug(joint.name, taken),
                type=joint.type,  # type: ignore[arg-type]
                parent=names[joint.parent],
                child=names[joint.child],
                axis=(x, y, z),
                origin=(u, v, w),
                limits=joint.limits,
                damping=joint.damping,
                friction=joint.friction,
                stiffness=joint.stiffness,
                confidence=1.0,
                source="asset",
                evidence=(f"{joint.type} joint {joint.name} of {file}",),
            )
        )
    return tuple(out)


def _write(surfaces: Sequence[Any], folder: Path, name: str) -> str:
    """NAME.obj and NAME.png in `folder`; returns the picture's name in the artifact."""
    mesh, picture = one_mesh(surfaces)
    write_obj(mesh, folder / f"{name}.obj", f"{name}.png")
    images.write_color(folder / f"{name}.png", picture)
    return f"{folder.parent.name}/{folder.name}/{name}.png"


# ------------------------------------------------------------------ what is fixed


def _static(thing: Thing, name: str, shift: Array, sunk: float, out: Path) -> StaticPart:
    folder = out / "statics" / name
    folder.mkdir(parents=True)
    lowered = shift.copy()
    lowered[2, 3] -= sunk
    surfaces = [mapped(surface, lowered @ piece.T) for piece in thing.pieces for surface in piece.surfaces]
    texture = _write(surfaces, folder, name)
    return StaticPart(name=name, text=_words(thing, 0)[0], mesh=f"statics/{name}/{name}.obj", texture=texture)


def _support(ground: Ground, things: Sequence[Thing], shift: Array, out: Path) -> Support:
    """One colour: that of what it belongs to. Nothing of it was seen by a camera."""
    polygon = ground.polygon + shift[:2, 3]
    (x0, y0), (x1, y1) = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
    if ground.thing is not None:
        surfaces = [surface for piece in things[ground.thing].pieces for surface in piece.surfaces]
        color = mean_color(max(surfaces, key=lambda surface: len(surface.faces)))
        images.write_color(out / "support.png", np.full((32, 32, 3), color, dtype=np.uint8))
    return Support(
        polygon=tuple((float(x), float(y)) for x, y in polygon),
        residual_m=0.0,
        thickness_m=ground.thickness_m,
        texture="support.png" if ground.thing is not None else None,
        texture_bounds=(x0, y0, x1, y1),
        seen_fraction=0.0,
    )
