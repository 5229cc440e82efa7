"""Laws of object sets: what is swapped in is like what it replaces, stands where that stood, and is written down."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import trimesh
from bench.audit import objections, rerun

import toys
from blueprint.backends.simulator_mujoco import SimulatorMujoco, load_model
from blueprint.core.errors import InputError
from blueprint.formats.mjcf.scene import Contacts, _defaults
from blueprint.model.artifacts import Episodes, Library, Physics, TaskSet, Workcell
from blueprint.model.scene import LibraryAsset, SettleTest
from blueprint.model.task import Goal, Step, Task
from blueprint.model.variation import Swap
from blueprint.skills.cell import Cell
from blueprint.skills.placement import height_range
from blueprint.skills.scene import TaskScene
from blueprint.skills.variation import object_sets
from blueprint.skills.variation.object_sets import ObjectSet, reworded, write_set
from blueprint.skills.wording import Wording
from blueprint.stages.episodes import EpisodesConfig, Vary, episodes
from blueprint.stages.library import LibraryConfig, Shape, library, likeness
from blueprint.stages.recording.labels import labels_of
from toy_cell import make_workcell

CFG = LibraryConfig()
CAN = Shape(category="can", shape="cylinder", sizes=(0.06, 0.06, 0.1), fill=0.785, convexity=1.0)
LIFT = Task(
    id="lift", object="soup_can", goal=Goal(family="lift", height_m=0.08), instruction="lift the tomato soup can"
)


def nothing_captured() -> Physics:
    settle = SettleTest.model_construct(objects=())
    return Physics.model_construct(objects=(), settle=settle)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A can that is like the toy's, and one so wide that it has no place beside the others."""
    folder, out = tmp_path_factory.mktemp("shop"), tmp_path_factory.mktemp("library")
    for name, radius, height in (("beer_can", 0.031, 0.11), ("paint_can", 0.16, 0.1)):
        solid = trimesh.creation.cylinder(radius, height, sections=24)
        solid.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))  # glTF is y-up
        trimesh.Scene({name: solid}).export(folder / f"{name}.glb")
    (folder / "broken.glb").write_bytes(b"glTF, or so it says")
    cfg = LibraryConfig(sources={"shop": str(folder)}, licences={"shop": "CC-BY-4.0"})
    made = library(nothing_captured(), SimulatorMujoco(), cfg, out)
    said = {"source": "shop", "sha256": "", "text": "beer can", "category": "can", "licence": "CC-BY-4.0"}
    like = {"by": "shape", "size_ratio": 1.0, "fill": 0.0, "convexity": 0.0}
    similar = {asset.name: Swap.model_validate({"asset": asset.name} | said | like) for asset in made.assets}
    return made.model_copy(update={"similar": {"soup_can": similar}}).save(out)


@pytest.fixture(scope="module")
def scene(workcell: Workcell) -> TaskScene:
    return TaskScene.of(workcell, SimulatorMujoco(), 0)


def tried(shop: Library, *words: str) -> dict[str, list[LibraryAsset]]:
    return {"soup_can": [asset for word in words for asset in shop.assets if word in asset.name]}


@pytest.fixture(scope="module")
def workcell(tmp_path_factory: pytest.TempPathFactory) -> Workcell:
    """The toy, with the geom classes that scenes of this product have."""
    made = make_workcell(tmp_path_factory.mktemp("cell") / "workcell")
    file, classes = made.path(made.mjcf), ET.Element("mujoco")
    _defaults(classes, Contacts())
    tree = ET.parse(file)
    found = tree.getroot().find("default")
    assert found is not None
    found.extend(classes.find("default") or ())
    tree.write(file)
    return made


# ------------------------------------------------------------------ what is alike


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"shape": "", "fill": 0.4}, ""),  # of one category: any shape
        ({"category": "mug"}, "mug, not can"),
        ({"sizes": (0.06, 0.06, 0.2)}, "2.00 times"),
        ({"category": ""}, ""),
        ({"category": "", "shape": "box"}, "box"),
        ({"category": "", "fill": 0.5}, "fill"),
        ({"category": "", "convexity": 0.5}, "convexity"),
    ],
)
def test_alike_is_one_category_or_one_shape_and_about_one_size(change: dict, why: str) -> None:
    other = CAN._replace(**change)
    found, turned = likeness(CAN, other, CFG), likeness(other, CAN, CFG)
    assert isinstance(found, str) is isinstance(turned, str) is bool(why)
    assert why in found if isinstance(found, str) else found["by"] == ("category" if other.category else "shape")


# ------------------------------------------------------------------ where assets come from


def test_a_model_file_gets_physics_as_captured_things_do(shop: Library, tmp_path: Path) -> None:
    can = next(asset for asset in shop.assets if "beer" in asset.name)
    assert (can.body.text, can.body.category) == ("beer can", "can")
    assert can.item.colliders and can.item.ranges is not None and "cm^3" in can.item.mass_kg.source
    np.testing.assert_allclose(can.body.dims_m, (0.062, 0.062, 0.11), atol=0.001)
    for file in (can.item.asset.mesh, can.item.asset.texture):
        assert shop.path(f"{can.folder}/{file}").is_file()
    assert [name for name in shop.refused if "broken" in name], "the rest is taken all the same"


def test_a_scene_of_ones_own_is_a_source_and_what_is_like_is_written_down_with_its_licence(tmp_path: Path) -> None:
    captured = toys.make_physics(tmp_path / "other")
    cfg = LibraryConfig(sources={"lab": str(tmp_path / "other")}, licences={"lab": "CC0-1.0"})
    made = library(captured, SimulatorMujoco(), cfg, tmp_path / "library")
    for item in captured.objects:
        swap = made.similar[item.asset.name][f"lab_{item.asset.name}"]
        mesh = captured.path(item.asset.mesh).read_bytes()
        assert (swap.size_ratio, swap.licence, swap.sha256) == (1.0, "CC0-1.0", hashlib.sha256(mesh).hexdigest())
    assert set(made.refused) >= {"lab_bowl for cracker_box"}


def test_a_changed_source_is_another_setting_and_a_missing_one_stops(tmp_path: Path) -> None:
    file = tmp_path / "mug.glb"
    trimesh.creation.box((0.1, 0.1, 0.1)).export(file)
    cfg = LibraryConfig(sources={"mugs": str(file)})
    before = cfg.model_dump(mode="json")
    trimesh.creation.box((0.1, 0.1, 0.2)).export(file)
    assert cfg.model_dump(mode="json")["contents"] != before["contents"]
    gone = LibraryConfig(sources={"gone": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match="no model at"):
        library(nothing_captured(), SimulatorMujoco(), gone, tmp_path / "out")


# ------------------------------------------------------------------ standing in another's place


def test_it_stands_on_the_same_height_in_the_same_place_and_all_else_is_as_before(
    scene: TaskScene, shop: Library, tmp_path: Path
) -> None:
    cell, refused = scene.cell, dict[str, str]()
    chosen = write_set(scene, ObjectSet(), tried(shop, "beer"), shop, tmp_path / "0.xml", refused)
    other = Cell.load(tmp_path / "0.xml", cell.robot, cell.objects)
    assert [*chosen.swapped] == ["soup_can"] and not refused
    a, b = cell.model, other.model
    assert (a.nq, a.nbody, a.nu) == (b.nq, b.nbody, b.nu)
    assert [a.body(k).name for k in range(a.nbody)] == [b.body(k).name for k in range(b.nbody)]
    for name in cell.objects:
        same = np.allclose(b.body(name).mass, a.body(name).mass)
        assert same is (name != "soup_can")
        T, T_new = cell.pose(cell.home_qpos, name), other.pose(other.home_qpos, name)
        assert np.abs(T_new[:2, 3] - T[:2, 3]).max() < (0.002 if name == "soup_can" else 1e-9)
        assert height_range(other, name, T_new)[0] == pytest.approx(height_range(cell, name, T)[0], abs=0.001)
    start = b.key("start").qpos[other.object_qpos["soup_can"] :][:3]
    np.testing.assert_allclose(start, b.body("soup_can").pos, atol=1e-6)


def test_what_has_no_room_gives_way_to_the_next_or_to_none_and_says_why(
    scene: TaskScene, shop: Library, tmp_path: Path
) -> None:
    for k, (words, left) in enumerate(((("paint", "beer"), ["shop_beer_can"]), (("paint",), []))):
        some, refused = tried(shop, *words), dict[str, str]()
        chosen = write_set(scene, ObjectSet(scaled={"soup_can": 1.05}), some, shop, tmp_path / f"{k}.xml", refused)
        assert [asset.name for asset in chosen.swapped.values()] == left
        assert chosen.scaled == ({} if left else {"soup_can": 1.05})
        assert list(refused) == [f"{k}: soup_can <- shop_paint_can"] and "inside" in str(refused)


# ------------------------------------------------------------------ episodes


@pytest.fixture(scope="module")
def swapped(workcell: Workcell, shop: Library, tmp_path_factory: pytest.TempPathFactory) -> list[Episodes]:
    """The same twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_sets, "SWAPPED", 1.0)
        cfg = EpisodesConfig(count=1, vary=Vary(objects="high"), grasp_samples=80, seed=4)
        return [_run(workcell, shop, cfg, tmp_path_factory.mktemp("swapped")) for _ in range(2)]


def _run(workcell: Workcell, shop: Library, cfg: EpisodesConfig, out: Path) -> Episodes:
    taskset = TaskSet(tasks=(LIFT,), refused={})
    return episodes(workcell, taskset, SimulatorMujoco(), cfg, out, shop).save(out)


def test_an_episode_with_another_thing_says_so_and_runs_again_to_the_bit(
    workcell: Workcell, swapped: list[Episodes]
) -> None:
    made = swapped[0]
    record = made.episodes[0]
    assert record.success and record.states is not None and record.variation is not None
    swap = record.variation.swapped["soup_can"]
    assert (swap.text, swap.category, swap.licence) == ("beer can", "can", "CC-BY-4.0")
    assert record.task.instruction == "lift the beer can" and record.task.id == LIFT.id
    assert "soup_can" not in record.variation.scaled
    assert any("paint_can" in name for name in made.refused_swaps)
    again = rerun(workcell, made.path(record.states), made.fps, mjcf=made.model(record, workcell))
    assert again.largest_difference == 0.0 and objections(workcell, record.task, again) == []


def test_the_same_seed_gives_the_same_bytes(swapped: list[Episodes]) -> None:
    first, second = swapped
    assert first.model_dump() == second.model_dump()
    digests = [hashlib.sha256(one.path(str(one.episodes[0].states)).read_bytes()).digest() for one in swapped]
    assert digests[0] == digests[1]
    texts = [one.path(str(one.episodes[0].mjcf)).read_bytes() for one in swapped]
    assert texts[0] == texts[1]


def test_labels_tell_the_new_thing_from_the_old_one(workcell: Workcell, swapped: list[Episodes]) -> None:
    record = swapped[0].episodes[0]
    assert record.variation is not None
    swap = record.variation.swapped["soup_can"]
    whole = labels_of(workcell, swapped[0].episodes)
    own = whole.in_set(swapped[0].model(record, workcell), record.variation.swapped)
    body = whole.bodies.index("soup_can")
    assert whole.instances[whole.instance[body]].name == "soup_can"
    assert own.instances[own.instance[body]].name == f"soup_can:{swap.asset}"
    assert own.categories[own.category[body]] == "can"
    assert np.ptp(own.points[body], axis=0)[2] == pytest.approx(0.11, abs=0.002)
    model = load_model(swapped[0].model(record, workcell))
    assert set(own.points) <= {b for b in range(model.nbody) if model.body_geomnum[b]}


# ------------------------------------------------------------------ words


def words(**spoken: str) -> Wording:
    return Wording(spoken, np.zeros((0, 2)), np.zeros(2))


def test_a_task_is_asked_in_the_words_of_the_scene_or_not_at_all() -> None:
    on = Task(
        id="t",
        object="a",
        goal=Goal(family="place_on", target="b"),
        instruction="Put the can on the blue can carefully",
    )
    before, after = words(a="can", b="blue can"), words(a="left jar", b="right jar")
    asked = reworded(on, before, after, ["a"])
    assert asked is not None and asked.instruction == "Put the left jar on the right jar carefully"
    assert reworded(on, before, after, []) == on, "nothing is swapped"
    assert reworded(on.model_copy(update={"instruction": "tidy up"}), before, after, ["a"]) is None
    insert = Step(object="a", goal=Goal(family="insert", target="b"))
    chain = on.model_copy(update={"goal": Goal(family="chain", steps=(insert,))})
    assert reworded(chain, before, after, ["a"]) is None, "its hole was measured for the captured peg"
    assert reworded(chain, before, before, ["c"]) is not None, "another thing in the scene"
