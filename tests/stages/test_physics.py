"""What a physical scene owes its users."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import toys
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import SettingsError
from blueprint.geometry.transforms import matrix_to_pose
from blueprint.model.artifacts import Articulation, Physics, Reconstruction
from blueprint.model.scene import ObjectAsset
from blueprint.model.spatial import Pose
from blueprint.stages.physics import Override, PhysicsConfig, physics, table_polygon


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Physics:
    return toys.make_physics(tmp_path_factory.mktemp("physics"))


@pytest.fixture(scope="module")
def inputs(made: Physics) -> tuple[Articulation, Reconstruction]:
    root = made.root / "inputs"
    return Articulation.load(root / "articulation"), Reconstruction.load(root / "reconstruction")


def placed(assets: Articulation, names: list[str], poses: dict[str, Pose]) -> Articulation:
    """Some of the toys, some of them elsewhere."""

    def put(asset: ObjectAsset) -> ObjectAsset:
        return asset.model_copy(update={"pose": poses.get(asset.name, asset.pose)})

    kept = tuple(put(asset) for asset in assets.objects if asset.name in names)
    return assets.model_copy(update={"objects": kept}).bind(assets.root)


def at(x: float, y: float, z: float) -> Pose:
    return Pose(position=(x, y, z))


def test_the_toys_hold_still(made: Physics) -> None:
    assert made.settle.passed
    assert made.settle.max_drift_m < 0.001
    assert made.settle.max_penetration_m < 0.001
    assert {item.name for item in made.settle.objects} == {toy.name for toy in toys.toys()}


def test_standing_toys_stay_where_they_were_captured(made: Physics) -> None:
    assert max(item.moved_m for item in made.objects) < 0.002
    assert max(item.moved_deg for item in made.objects) < 1.0


def test_each_shape_gets_the_simplest_collider(made: Physics) -> None:
    methods = {item.asset.name: item.collider_method.split(":")[0] for item in made.objects}
    found = [methods[name] for name in ("cracker_box", "soup_can", "mustard_bottle", "bowl")]
    assert found == ["primitive", "primitive", "coacd", "cuts about the axis"]


def test_mass_is_volume_times_density_and_says_so(made: Physics) -> None:
    box = made.objects[0]
    assert box.mass_kg.value == pytest.approx(0.06 * 0.16 * 0.21 * 206, rel=1e-4)
    assert "206 kg/m^3" in box.mass_kg.source
    assert all(item.friction.source and item.restitution.source for item in made.objects)


def test_the_user_knows_better(inputs: tuple[Articulation, Reconstruction], tmp_path: Path) -> None:
    assets = placed(inputs[0], ["cracker_box"], {})
    override = Override(mass_kg=0.3, friction=0.6, material="wood")
    cfg = PhysicsConfig(overrides={"cracker_box": override})
    (box,) = physics(assets, inputs[1], SimulatorMujoco(), cfg, tmp_path).objects
    assert (box.mass_kg.value, box.friction.value, box.material) == (0.3, 0.6, "wood")
    assert "user" in box.mass_kg.source
    assert "user" in box.friction.source


def test_unknown_override_lists_the_objects(inputs: tuple[Articulation, Reconstruction], tmp_path: Path) -> None:
    cfg = PhysicsConfig(overrides={"teapot": Override(mass_kg=1.0)})
    with pytest.raises(SettingsError, match="soup_can"):
        physics(*inputs, SimulatorMujoco(), cfg, tmp_path)


def test_sunk_object_is_lifted_by_its_depth_only(inputs: tuple[Articulation, Reconstruction], tmp_path: Path) -> None:
    sunk = placed(inputs[0], ["soup_can"], {"soup_can": at(0.05, -0.06, 0.042)})
    made = physics(sunk, inputs[1], SimulatorMujoco(), PhysicsConfig(), tmp_path)
    (can,) = made.objects
    assert can.moved_m == pytest.approx(0.008, abs=0.0005)
    assert can.pose.position[:2] == pytest.approx((0.05, -0.06), abs=1e-4)
    assert made.settle.passed


def test_interlocked_objects_move_apart_sideways(inputs: tuple[Articulation, Reconstruction], tmp_path: Path) -> None:
    close = {"soup_can": at(0.0, 0.0, 0.05), "mustard_bottle": at(0.055, 0.0, 0.0875)}
    pair = placed(inputs[0], list(close), close)
    made = physics(pair, inputs[1], SimulatorMujoco(), PhysicsConfig(), tmp_path)
    can, bottle = made.objects
    gap = np.linalg.norm(np.subtract(can.pose.position, bottle.pose.position)[:2])
    assert gap > 0.065 - 0.0015  # the sum of the radii, less the corners of a 32-sided bottle
    assert max(can.moved_m, bottle.moved_m) < 0.012
    assert made.settle.passed


def test_toppling_object_is_spawned_where_it_comes_to_lie(
    inputs: tuple[Articulation, Reconstruction], tmp_path: Path
) -> None:
    tilt = np.deg2rad(60)
    T = np.eye(4)
    T[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    T[:3, 3] = [0.0, 0.0, 0.12]
    tilted = placed(inputs[0], ["cracker_box"], {"cracker_box": matrix_to_pose(T)})
    made = physics(tilted, inputs[1], SimulatorMujoco(), PhysicsConfig(), tmp_path)
    assert made.settle.passed
    assert made.objects[0].moved_deg > 20


def test_table_reaches_under_what_stands_across_its_edge(
    inputs: tuple[Articulation, Reconstruction], tmp_path: Path
) -> None:
    edge = placed(inputs[0], ["soup_can"], {"soup_can": at(0.46, 0.0, 0.05)})
    made = physics(edge, inputs[1], SimulatorMujoco(), PhysicsConfig(), tmp_path)
    assert made.objects[0].moved_m < 0.002


def test_what_would_topple_off_the_table_stays_on_a_wider_one(
    inputs: tuple[Articulation, Reconstruction], tmp_path: Path
) -> None:
    tilt = np.deg2rad(50)
    T = np.eye(4)
    T[np.ix_((0, 2), (0, 2))] = [[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]]
    T[:3, 3] = [0.42, 0.0, 0.105]
    leaning = placed(inputs[0], ["cracker_box"], {"cracker_box": matrix_to_pose(T)})
    made = physics(leaning, inputs[1], SimulatorMujoco(), PhysicsConfig(), tmp_path)
    assert made.objects[0].pose.position[2] > 0
    assert made.settle.passed
    assert table_polygon(made.bind(tmp_path))[:, 0].max() > 0.5


def test_crashed_decomposition_falls_back_to_a_hull_and_says_so(
    inputs: tuple[Articulation, Reconstruction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("blueprint.geometry.colliders.decomposition.coacd_hulls", lambda *args, **options: os.abort())
    bottle = placed(inputs[0], ["mustard_bottle"], {})
    made = physics(bottle, inputs[1], SimulatorMujoco(), PhysicsConfig(), tmp_path)
    assert made.objects[0].collider_method.startswith("hull: decomposition failed")
    assert len(made.objects[0].colliders) == 1


def test_same_inputs_give_the_same_files(inputs: tuple[Articulation, Reconstruction], tmp_path: Path) -> None:
    bowl = placed(inputs[0], ["bowl"], {})
    texts = []
    for name in ("a", "b"):
        out = tmp_path / name
        out.mkdir()
        made = physics(bowl, inputs[1], SimulatorMujoco(), PhysicsConfig(), out).save(out)
        files = sorted(path.relative_to(out) for path in out.rglob("*.obj"))
        texts.append((made.model_dump_json(), [(file, (out / file).read_bytes()) for file in files]))
    assert texts[0] == texts[1]
