"""USD assets: NVIDIA's validator and ours accept them, ours rejects every damage, all formats say the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest
from bench.scenes import cabinet as toy_cabinet
from bench.scenes.mutations import MUTATIONS, Mutation, mutated
from bench.spine.parity import faults
from PIL import Image
from pxr import Usd, UsdPhysics

from blueprint.formats.mjcf.layout import joint_name, part_body
from blueprint.formats.urdf import write_urdf
from blueprint.formats.usd.asset import Provenance, write_asset
from blueprint.formats.usd.runtimes import RUNTIMES
from blueprint.formats.usd.simready_check import check_asset
from blueprint.formats.usd.soft import write_soft
from blueprint.model.scene import PhysicalObject


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def item(files: Path) -> PhysicalObject:
    return toy_cabinet.make_cabinet(files)


@pytest.fixture(scope="module")
def asset(item: PhysicalObject, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asset(tmp_path_factory.mktemp("simready"), item, files, Provenance())


def test_the_asset_is_accepted(asset: Path) -> None:
    assert check_asset(asset) == []
    assert faults(asset) == []


def test_nvidias_validator_accepts_the_asset(asset: Path) -> None:
    command = Path(sys.executable).with_name("simready-validate")
    if not command.exists():
        pytest.skip("simready-validate is not installed (extra `simready`)")
    profile = ["--profile", "Robotics-Prop", "--version", "4.0.0"]
    run = subprocess.run([command, *profile, asset], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_damage_is_rejected(asset: Path, tmp_path: Path, mutation: Mutation) -> None:
    found = check_asset(mutated(asset, tmp_path / "asset", mutation))
    assert mutation.check in {fault.check for fault in found}, found


def test_a_missing_file_is_found(asset: Path, tmp_path: Path) -> None:
    shutil.copytree(asset.parent, tmp_path / "copy")
    next((tmp_path / "copy/textures").iterdir()).unlink()
    assert {fault.check for fault in check_asset(tmp_path / "copy" / asset.name)} == {"missing file"}


def test_engines_speak_only_where_they_are_asked(asset: Path) -> None:
    """The neutral layer composes alone; choosing an engine adds its schemas and changes no number of UsdPhysics."""
    engines = {"PhysX": "Physx", "Newton": "Newton", "MuJoCo": "Mjc"}
    for runtime in RUNTIMES:
        stage = Usd.Stage.Open(str(asset))
        neutral = _physics(stage)
        assert not any(name.startswith(tuple(engines.values())) for name in _schemas(stage))
        stage.SetEditTarget(stage.GetSessionLayer())
        stage.GetDefaultPrim().GetVariantSet(runtime).SetVariantSelection("Enabled")
        assert any(name.startswith(engines[runtime]) for name in _schemas(stage))
        assert _physics(stage) == neutral


def _schemas(stage: Usd.Stage) -> set[str]:
    listed = [prim.GetMetadata("apiSchemas") for prim in stage.Traverse()]
    return {name for schemas in listed if schemas for name in schemas.GetAppliedItems()}


def _physics(stage: Usd.Stage) -> dict[str, str]:
    return {
        str(attribute.GetPath()): str(attribute.Get())
        for prim in stage.Traverse()
        for attribute in prim.GetAuthoredAttributes()
        if attribute.GetName().startswith(("physics:", "drive:"))
    }


def test_masses_limits_and_colliders_are_the_same_in_every_format(
    item: PhysicalObject, asset: Path, files: Path
) -> None:
    usd = Usd.Stage.Open(str(asset))
    urdf = mujoco.MjModel.from_xml_path(str(_for_mujoco(write_urdf(files, item))))
    bodies = {item.asset.name: (item.mass_kg.value, item.colliders)}
    bodies |= {part_body(item.asset.name, part.part.name): (part.mass_kg.value, part.colliders) for part in item.parts}
    prims = {prim.GetDisplayName(): prim for prim in usd.Traverse() if prim.HasAPI(UsdPhysics.RigidBodyAPI)}
    assert set(prims) == set(bodies)
    for name, (mass, colliders) in bodies.items():
        assert UsdPhysics.MassAPI(prims[name]).GetMassAttr().Get() == pytest.approx(mass)
        shapes = [prim for prim in Usd.PrimRange(prims[name]) if prim.HasAPI(UsdPhysics.CollisionAPI)]
        assert len(shapes) == len(colliders)
        body = urdf.body(name)
        assert body.mass[0] == pytest.approx(mass)
        collide = (urdf.geom_bodyid == body.id) & (urdf.geom_contype > 0)
        assert collide.sum() == len(colliders)
    for part in item.parts:
        lower, upper = part.joint.limits
        joint = usd.GetPrimAtPath(f"/cabinet/joints/{part.joint.name}")
        revolute = UsdPhysics.RevoluteJoint(joint)
        limits = revolute or UsdPhysics.PrismaticJoint(joint)
        degrees = 180 / np.pi if revolute else 1.0
        assert limits.GetLowerLimitAttr().Get() == pytest.approx(lower * degrees)
        assert limits.GetUpperLimitAttr().Get() == pytest.approx(upper * degrees)
        there = urdf.joint(joint_name(item.asset.name, part.joint.name))
        np.testing.assert_allclose(there.range, (lower, upper))
        np.testing.assert_allclose(there.axis, part.joint.axis, atol=1e-12)
        assert there.damping[0] == pytest.approx(part.joint.damping)


def _for_mujoco(urdf: Path) -> Path:
    """MuJoCo drops folders and visuals of a URDF unless told not to."""
    keep = '<mujoco><compiler strippath="false" discardvisual="false" fusestatic="false"/></mujoco></robot>'
    path = urdf.with_suffix(".mujoco.urdf")
    path.write_text(urdf.read_text().replace("</robot>", keep))
    return path


def test_urdf_stands_as_the_object_does(item: PhysicalObject, files: Path) -> None:
    """Every body's centre of mass, closed and opened, is where the MJCF's conventions put it."""
    model = mujoco.MjModel.from_xml_path(str(_for_mujoco(write_urdf(files, item))))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for part in item.parts:
        body = part_body(item.asset.name, part.part.name)
        np.testing.assert_allclose(data.body(body).xipos, part.inertia.center_of_mass, atol=1e-6)
    data.joint("cabinet_drawer_slide").qpos[0] = 0.2
    mujoco.mj_forward(model, data)
    expected = np.add(item.parts[0].inertia.center_of_mass, (0.2, 0.0, 0.0))
    np.testing.assert_allclose(data.body("cabinet_drawer").xipos, expected, atol=1e-6)


@pytest.mark.parametrize("anchored", [True, False])
def test_only_an_anchored_object_is_fixed_to_the_world(tmp_path: Path, anchored: bool) -> None:
    made = toy_cabinet.make_cabinet(tmp_path / "files", anchored=anchored)
    stage = Usd.Stage.Open(str(write_asset(tmp_path / "usd", made, tmp_path / "files", Provenance())))
    assert stage.GetPrimAtPath("/cabinet/joints/fixed_base").IsValid() is anchored


def test_the_same_asset_twice_is_the_same_files(asset: Path, item: PhysicalObject, files: Path, tmp_path: Path) -> None:
    again = write_asset(tmp_path, item, files, Provenance())
    for file in sorted(path for path in asset.parent.rglob("*") if path.is_file()):
        assert file.read_bytes() == (again.parent / file.relative_to(asset.parent)).read_bytes(), file


def test_the_thumbnail_shows_the_object_whole(asset: Path) -> None:
    """Wood in the middle, plain light grey along every border."""
    picture = np.asarray(Image.open(asset.parent / f".thumbs/256x256/{asset.name}.png")).astype(int)
    assert picture.shape == (256, 256, 3)
    colored = picture.max(axis=2) - picture.min(axis=2) > 20
    assert 0.15 < colored.mean() < 0.8
    border = np.concatenate(
        [colored[:3].ravel(), colored[-3:].ravel(), colored[:, :3].ravel(), colored[:, -3:].ravel()]
    )
    assert not border.any()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_soft_body_is_a_valid_usd_deformable(tmp_path: Path, dim: int) -> None:
    made = toy_cabinet.make_soft(tmp_path, dim, (0.0, 0.0, 0.0))
    path = tmp_path / "soft.usda"
    write_soft(path, made, tmp_path)
    assert faults(path) == []
    stage = Usd.Stage.Open(str(path))
    rest = np.array(stage.GetAttributeAtPath("/soft/Simulated.omniphysics:restShapePoints").Get())
    points = np.load(tmp_path / made.soft.file)["points"]
    np.testing.assert_allclose(np.sort(rest, axis=0), np.sort(points, axis=0), atol=1e-6)
