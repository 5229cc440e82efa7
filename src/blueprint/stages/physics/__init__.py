"""Physics: what objects weigh, how they slide, what shape they collide with, and where they come to rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from blueprint.backends.protocols import Simulator
from blueprint.core.report import log, warn
from blueprint.core.stage import stage
from blueprint.formats.mjcf.scene import Contacts, TableFiles, scene_mjcf
from blueprint.geometry.transforms import pose_to_matrix, rotation_angle
from blueprint.model.artifacts import Articulation, Physics, Reconstruction
from blueprint.model.scene import PhysicalObject, StaticPart
from blueprint.model.spatial import Pose
from blueprint.stages.physics.bodies import physical
from blueprint.stages.physics.colliding import make_colliders
from blueprint.stages.physics.config import ColliderConfig, Override, PhysicsConfig, check_names
from blueprint.stages.physics.estimating import estimates
from blueprint.stages.physics.rest import RestConfig, come_to_rest, settle_test
from blueprint.stages.physics.statics import copy_statics
from blueprint.stages.physics.table import TABLE_FILE, carrying_polygon, table_polygon, write_table_collider
from blueprint.stages.physics.validator import PhysicsValidator, report_failures

__all__ = [
    "TABLE_FILE",
    "ColliderConfig",
    "Override",
    "PhysicsConfig",
    "PhysicsValidator",
    "carrying_polygon",
    "physics",
    "table_polygon",
]

SETTLE_FILE = "settle.xml"
QUIET_FILE = "quiet.xml"
TABLE_MARGIN_M = 0.02  # the table reaches at least this far beyond what stands on it
FALL_MARGIN_M = 0.25  # and this far beyond what would otherwise fall off it
FALLEN_M = -0.05


@stage(version="2")
def physics(
    articulation: Articulation, reconstruction: Reconstruction, simulator: Simulator, cfg: PhysicsConfig, out: Path
) -> Physics:
    """Objects that a simulator can hold: at rest, without penetration, and checked.

    Raises SettingsError for an override that names no object or no material, InputError for a reserved object name.
    """
    check_names(cfg, articulation)
    shutil.copytree(articulation.path("objects"), out / "objects", dirs_exist_ok=True)
    statics = copy_statics(reconstruction, cfg.colliders, cfg.seed, out)
    make_colliders(articulation, cfg.colliders, cfg.seed, out)
    judged = estimates(articulation, cfg, out)
    objects = [
        physical(asset, articulation, cfg.overrides.get(asset.name, Override()), judged.get(asset.name), out)
        for asset in articulation.objects
    ]
    spawned = _on_table(objects, statics, reconstruction, simulator, cfg.rest, out)
    drifts = settle_test(out / SETTLE_FILE, spawned, simulator, cfg.rest, out)
    test = drifts.test
    if not test.passed:
        warn(f"the scene does not hold still: {test.max_drift_m * 1e3:.1f} mm, {test.max_drift_deg:.1f} deg")
    validator = PhysicsValidator(simulator, rest=cfg.rest, colliders=cfg.colliders)
    checks = validator.validate(spawned, out, drifts=drifts)
    report_failures(checks)
    return Physics(objects=tuple(spawned), statics=statics, settle=test, checks=checks)


def _on_table(
    objects: list[PhysicalObject],
    statics: tuple[StaticPart, ...],
    reconstruction: Reconstruction,
    simulator: Simulator,
    cfg: RestConfig,
    out: Path,
) -> list[PhysicalObject]:
    """Objects at rest on a table that is widened below those that stand across, or would fall over, its seen edge."""
    margins = [TABLE_MARGIN_M for _ in objects]
    spawned, fallen = objects, [False for _ in objects]
    for _ in range(2):
        polygon = carrying_polygon(reconstruction, objects, margins, out)
        write_table_collider(reconstruction, polygon, out / TABLE_FILE)
        spawned = _rest(objects, statics, simulator, cfg, out)
        fallen = [item.pose.position[2] < FALLEN_M for item in spawned]
        if not any(fallen):
            return spawned
        margins = [FALL_MARGIN_M if down else margin for down, margin in zip(fallen, margins, strict=True)]
    names = ", ".join(item.asset.name for item, down in zip(spawned, fallen, strict=True) if down)
    warn(f"fell off the table: {names}")
    return spawned


def _rest(
    objects: list[PhysicalObject], statics: tuple[StaticPart, ...], simulator: Simulator, cfg: RestConfig, out: Path
) -> list[PhysicalObject]:
    """Write the two test scenes (one in a viscous medium) and move every object to where it rests.

    Soft bodies come to rest as the rigid shapes that they were captured as; only the final test lets them bend.
    """
    table = TableFiles(collider=TABLE_FILE)

    def write(items: list[PhysicalObject], name: str, contacts: Contacts | None = None) -> None:
        text = scene_mjcf(items, table, statics=statics, assets_dir=".", files=out, contacts=contacts, drawn=False)
        (out / name).write_text(text)

    rigid = [item.model_copy(update={"soft": None}) for item in objects]
    write(rigid, QUIET_FILE, Contacts(viscosity=cfg.viscosity))
    write(rigid, SETTLE_FILE)
    poses = come_to_rest(out / QUIET_FILE, out / SETTLE_FILE, rigid, simulator, cfg)
    spawned = [_moved(item, pose) for item, pose in zip(objects, poses, strict=True)]
    write(spawned, SETTLE_FILE)
    (out / QUIET_FILE).unlink()
    return spawned


def _moved(item: PhysicalObject, pose: Pose) -> PhysicalObject:
    before, after = pose_to_matrix(item.pose), pose_to_matrix(pose)
    moved_m = float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
    moved_deg = float(np.rad2deg(rotation_angle(before, after)))
    if moved_m > 0.01 or moved_deg > 5:
        log(f"{item.asset.name} rests {moved_m * 1e3:.0f} mm, {moved_deg:.0f} deg from where it was captured")
    return item.model_copy(update={"pose": pose, "moved_m": moved_m, "moved_deg": moved_deg})
