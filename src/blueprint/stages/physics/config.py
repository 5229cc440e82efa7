"""Settings of the physics stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from blueprint.core.artifact import Config, Model
from blueprint.core.errors import InputError, SettingsError
from blueprint.formats.mjcf.scene import TABLE_BODY
from blueprint.model.artifacts import Articulation
from blueprint.model.materials import named
from blueprint.stages.physics.rest import RestConfig


class Override(Model):
    """What the user knows better than any rule or estimate.

    mass_kg: of the whole object, its parts included; soft: how it deforms, `no` where a rule would make it soft
    """

    mass_kg: float | None = Field(default=None, gt=0)
    material: str | None = None
    friction: float | None = Field(default=None, ge=0)
    soft: Literal["rope", "cloth", "volume", "no"] | None = None


class ColliderConfig(Config):
    """What shape objects collide with.

    primitive_fit_m: an asset's primitive is its collider if the mesh lies within this of it
    hull_excess: one hull is enough while its volume is at most this times the solid's; vessel_excess: for open vessels,
    whose inside must stay open even where little of it was seen
    hausdorff_m: colliders may reach beyond the mesh, or miss it, by this: one hull must, a decomposition is refined to
    flat_base_m: hull vertices this close to the lowest, as it stood, are brought to its height
    clearance_m: between the swept colliders of a moving part and the others of its object
    decomposer: `coacd` or `vhacd`; max_hulls, max_faces: pieces at most, faces before decomposition
    refinements: how often a decomposition that misses hausdorff_m is made again, finer; timeout_s: per decomposition
    cache: keep decompositions in $BLUEPRINT_CACHE, else ~/.cache/blueprint, by what they are made from
    """

    primitive_fit_m: float = 0.002
    hull_excess: float = 1.25
    vessel_excess: float = 1.05
    hausdorff_m: float = 0.003
    flat_base_m: float = 0.001
    clearance_m: float = 0.0005
    decomposer: Literal["coacd", "vhacd"] = "coacd"
    max_hulls: int = 96
    max_faces: int = 1000
    refinements: int = 2
    timeout_s: float = 240.0
    cache: bool = True


class PhysicsConfig(Config):
    """overrides: object name -> what the user knows; everything else follows from the table of materials.

    estimator: name of a backend that says what objects are made of (`gemini`); empty = the rules alone
    """

    overrides: dict[str, Override] = Field(default_factory=dict)
    estimator: str = ""
    colliders: ColliderConfig = ColliderConfig()
    seed: int = 0
    rest: RestConfig = RestConfig()


def check_names(cfg: PhysicsConfig, articulation: Articulation) -> None:
    """Raises SettingsError for an override that names no object or no material, InputError for a reserved name."""
    names = [asset.name for asset in articulation.objects]
    for reserved in (TABLE_BODY, "world", "floor"):
        if reserved in names:
            raise InputError(f"no object may be named {reserved!r}", "give it another name in the capture")
    for name, override in cfg.overrides.items():
        if name not in names:
            raise SettingsError(f"physics.overrides names no object {name!r}", f"the scene has: {', '.join(names)}")
        if override.material is not None and named(override.material) is None:
            raise SettingsError(
                f"physics.overrides: no material {override.material!r}", "see blueprint/model/materials.py"
            )
