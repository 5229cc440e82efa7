"""Laws of what opens: cutting conserves, hinges are opposite to handles, drawers leave along their front's normal."""

from __future__ import annotations

import numpy as np
import pytest
from bench.scenes.articulation_shapes import Specimen, box, specimens
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.geometry.articulation.hinges import clear_range, judge, moved, revised
from blueprint.geometry.articulation.panels import Handle, Panel, frames
from blueprint.geometry.cutting import as_manifold, as_mesh, components, cut_slab, original_ids, pieces_of
from blueprint.geometry.mesh import is_closed
from blueprint.model.categories import named_category
from blueprint.stages.articulation.detector import Knowledge, detect

SET = {s.name: s for s in specimens(seed=11, rounds=1)}
CABINET = named_category("cabinet")


def panel(handle: tuple[float, float] | None, size: tuple[float, float] = (0.4, 0.6)) -> Panel:
    """A front of that size about the origin that looks along +x; handle: where its middle is."""
    frame = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    handles = ()
    if handle is not None:
        x, y = handle
        handles = (Handle((x - 0.01, y - 0.01, x + 0.01, y + 0.01), 0.03),)
    w, h = size
    return Panel(frame, (-w / 2, -h / 2, w / 2, h / 2), 0.02, 0.0, 0.0, handles, (0,))


@given(st.floats(0.3, 0.95), st.sampled_from([-1, 1]))
def test_a_hinge_is_opposite_to_its_handle(share: float, side: int) -> None:
    front = panel((side * share * 0.2, 0.05))
    verdict = judge(front, [front], CABINET, 1.0)
    assert verdict.kind == "door"
    y = verdict.origin[1]  # the panel's x is the world's y here
    assert y == pytest.approx(-side * 0.2)


@given(st.floats(0.3, 0.95), st.sampled_from([-1, 1]))
def test_a_door_opens_outwards(share: float, side: int) -> None:
    front = panel((side * share * 0.2, 0.0))
    verdict = judge(front, [front], CABINET, 1.0)
    leaf = box(0.0, -0.2, -0.3, 0.02, 0.2, 0.3)
    opened = moved(leaf, verdict.joint, verdict.axis, verdict.origin, 0.5).bounding_box()
    assert opened[3] > 0.1  # towards +x
    assert opened[0] > -0.03


def test_a_drawer_leaves_along_the_normal_of_its_front() -> None:
    front = panel((0.0, 0.0), size=(0.5, 0.15))
    verdict = judge(front, [front], CABINET, 1.0)
    assert (verdict.kind, verdict.joint) == ("drawer", "prismatic")
    assert verdict.axis == pytest.approx(front.frame[2])


def test_without_a_handle_the_hinge_is_in_doubt_unless_doors_come_in_a_pair() -> None:
    lone = panel(None)
    alone = judge(lone, [lone], CABINET, 1.0)
    assert alone.ambiguity
    assert alone.confidence < 0.6
    right = Panel(lone.frame, (0.21, -0.3, 0.61, 0.3), 0.02, 0.0, 0.0, (), (1,))
    pair = [lone, right]
    axes = [judge(front, pair, CABINET, 1.0) for front in pair]
    assert all(verdict.confidence > 0.6 for verdict in axes)
    assert axes[0].axis == pytest.approx(-axes[1].axis)


def test_what_is_known_not_to_open_is_believed_less() -> None:
    front = panel((0.15, 0.0))
    unknown, shelf = judge(front, [front], None, 0.0), judge(front, [front], named_category("bookcase"), 1.0)
    assert shelf.confidence < 0.6 < unknown.confidence


@given(st.floats(0.05, 0.95))
def test_witnesses_who_agree_are_surer_than_each(sure: float) -> None:
    front = panel((0.15, 0.0))
    verdict = judge(front, [front], None, 0.0)
    agreed = revised(verdict, front, "door", "left", sure, "model")
    assert agreed.confidence >= max(verdict.confidence, sure)
    refused = revised(verdict, front, "none", "", sure, "model")
    assert refused.confidence < verdict.confidence


def test_a_user_decides() -> None:
    front = panel((0.15, 0.0))
    verdict = revised(judge(front, [front], None, 0.0), front, "flap", "bottom", 1.0, "user")
    assert (verdict.kind, verdict.source, verdict.confidence) == ("flap", "user", 1.0)
    assert abs(verdict.axis[2]) < 1e-9


# ------------------------------------------------------------------ cutting


@settings(max_examples=15, deadline=None)
@given(st.floats(0.15, 0.5), st.floats(0.15, 0.5), st.floats(0.004, 0.05))
def test_cutting_conserves_volume(width: float, height: float, thickness: float) -> None:
    solid = box(-0.3, -0.3, -0.4, 0.3, 0.3, 0.0) + box(-0.02, -0.02, -0.001, 0.02, 0.02, 0.03)
    rect = (-width / 2, -height / 2, width / 2, height / 2)
    cut = cut_slab(solid, rect, 0.0, -thickness, gap=0.001, drawer=False, hollow=False)
    ring = ((width + 0.002) * (height + 0.002) - width * height) * thickness
    assert cut.part.volume() + cut.body.volume() + ring == pytest.approx(solid.volume(), rel=1e-4)
    assert (cut.part ^ cut.body).volume() < 1e-9


def test_a_drawer_is_a_box_that_holds_and_fits() -> None:
    solid = box(-0.3, -0.15, -0.4, 0.3, 0.15, 0.0)
    cut = cut_slab(solid, (-0.25, -0.1, 0.25, 0.1), 0.0, -0.018, gap=0.003, drawer=True)
    assert (cut.part ^ cut.body).volume() < 1e-9
    middle = box(-0.1, -0.05, -0.3, 0.1, 0.05, -0.1)
    assert (cut.part ^ middle).volume() == pytest.approx(0.0)  # there is room in it
    assert clear_range(cut.part, cut.body, "prismatic", np.array([0, 0, 1.0]), np.zeros(3), 0.3) == 0.3


def test_uvs_stay_where_the_surface_stays() -> None:
    mesh = SET["one_door_0_whole"].vertices, SET["one_door_0_whole"].faces
    uv = mesh[0][mesh[1]][:, :, [0, 2]]  # a chart by position: x, z
    solid = as_manifold(mesh, uv)
    assert solid is not None
    half = as_mesh(solid.trim_by_plane((0.0, 0.0, 1.0), 0.01), original_ids(solid), (9.0, 9.0))
    assert half.uv is not None
    old = half.uv[:, 0, 0] < 8
    assert half.uv[old] == pytest.approx(half.vertices[half.faces][old][:, :, [0, 2]], abs=1e-6)
    assert is_closed(half.mesh)


def test_what_is_in_the_way_ends_the_way() -> None:
    part, wall = box(0, 0, 0, 0.1, 0.1, 0.1), box(0.25, 0, 0, 0.3, 0.1, 0.1)
    reach = clear_range(part, wall, "prismatic", np.array([1.0, 0, 0]), np.zeros(3), 1.0)
    assert reach == pytest.approx(0.15, abs=2e-3)


def test_frames_are_right_handed_and_follow_the_turn_of_the_object() -> None:
    corners = SET["one_door_0"].vertices
    for yaw in (0.0, 0.3, 0.7):
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        found = frames((corners @ turn.T, SET["one_door_0"].faces))
        assert all(np.linalg.det(frame) == pytest.approx(1.0) for frame in found)
        assert len(found) == 5


# ------------------------------------------------------------------ whole objects


def found_in(specimen: Specimen):
    from blueprint.model.categories import category_of

    category, sureness = category_of(specimen.text) or (None, 0.0)
    return detect((specimen.vertices, specimen.faces), None, Knowledge(category, sureness))


@pytest.mark.parametrize("name", [n for n in SET if not n.startswith("rigid")])
def test_every_joint_is_found_and_every_piece_is_closed(name: str) -> None:
    found = found_in(SET[name])
    kinds = sorted(moving.verdict.joint for moving in found.moving)
    assert kinds == sorted(truth.kind for truth in SET[name].truths)
    assert found.base is not None
    for surface in (found.base, *(moving.surface for moving in found.moving)):
        label = components(surface.mesh)
        for k in range(int(label.max()) + 1):
            assert is_closed(pieces_of(surface.mesh, None, label == k).mesh)


@pytest.mark.parametrize("name", [n for n in SET if n.startswith("rigid")])
def test_rigid_things_stay_whole(name: str) -> None:
    assert not found_in(SET[name]).moving


@pytest.mark.parametrize("name", ["two_doors_0_whole", "mixed_0", "lid_0_whole"])
def test_what_is_found_turns_with_the_object(name: str) -> None:
    specimen = SET[name]
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    before = found_in(specimen)
    after = detect((specimen.vertices @ turn.T, specimen.faces), None, Knowledge())
    plain = detect((specimen.vertices, specimen.faces), None, Knowledge())
    assert len(after.moving) == len(plain.moving)
    axes = sorted((m.verdict.axis @ turn.T).round(5).tolist() for m in plain.moving)
    assert sorted(m.verdict.axis.round(5).tolist() for m in after.moving) == pytest.approx(np.array(axes), abs=1e-4)
    assert len(before.moving) == len(specimen.truths)


def test_walls_of_boards_are_no_drawers() -> None:
    """Every carcass of these is made of separate boards; only the fronts move."""
    from bench.scenes.articulation_shapes import LAYOUTS, _posed, separate

    rng = np.random.default_rng(31)
    for layout in LAYOUTS:
        cells, size, names = layout(rng)
        specimen = _posed(layout.__name__, names[0], separate(cells, size, rng, boards=True), rng, False)
        assert len(found_in(specimen).moving) == len(specimen.truths), layout.__name__
