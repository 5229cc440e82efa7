"""The hero renderer: what it hands to Blender, what it refuses, and (where a Blender is named) what Cycles draws."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from blueprint.backends.protocols import Images
from blueprint.backends.renderer_hero import AT_ONCE, PATHS, VARIABLE, RendererHero, write_job
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.core.errors import BackendError, InputError
from blueprint.core.execute import map_items
from blueprint.formats.images import read_color
from blueprint.model.variation import Lamp, Look
from blueprint.stages.certificate import rule

WIDTH, HEIGHT = 320, 240
CAMERAS = ("fixed", "shifted", "moving")
SCENE = """<mujoco>
  <statistic extent="1" center="0 0 0.1"/>
  <visual><headlight ambient="0 0 0" diffuse="0 0 0"/><map znear="0.01" zfar="10"/><rgba haze="0 0 0 1"/></visual>
  <asset>
    <texture name="wood" type="2d" builtin="gradient" rgb1="0.2 0.2 1" rgb2="0.2 0.2 0.3" width="64" height="64"/>
    <material name="wood" texture="wood" emission="1"/>
    <material name="red" rgba="0.9 0.1 0.1 1" emission="1"/>
    <material name="green" rgba="0.1 0.8 0.1 1" emission="1"/>
    <mesh name="wedge" vertex="-0.1 -0.1 0  0.1 -0.1 0  0.1 0.1 0  -0.1 0.1 0  -0.1 0 0.2  0.1 0 0.2"/>
  </asset>
  <worldbody>
    <light type="directional" pos="0.5 -0.5 2" dir="-0.3 0.35 -1" diffuse="0 0 0"/>
    <camera name="fixed" pos="0.1 -1.1 0.9" xyaxes="1 0 0 0 0.6 0.8" fovy="50"/>
    <camera name="shifted" pos="0 -0.1 1.4" sensorsize="0.004 0.003" resolution="160 120" focalpixel="140 150"
      principalpixel="13 -8"/>
    <body name="table"><geom type="box" size="0.5 0.4 0.02" pos="0 0 -0.02" material="wood"/></body>
    <body name="ball" pos="-0.2 0.15 0.32"><freejoint/><geom type="sphere" size="0.12" material="red"/></body>
    <body name="wedge" pos="0.22 0.1 0.25"><freejoint/><geom type="mesh" mesh="wedge" material="green"/></body>
    <body name="hand" pos="0 -0.2 0.8"><joint name="x" type="slide" axis="1 0 0"/>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
      <camera name="moving" pos="0 -0.4 0" xyaxes="1 0 0 0 0.9 0.3" fovy="60"/></body>
  </worldbody>
</mujoco>"""
FAKE = """#!{python}
import json, os, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
folder = Path(sys.argv[-1])
{does}
(folder / "blender.json").write_text(json.dumps({{"blender": "{version}"}}))
if (folder / "job.json").is_file():
    job = json.loads((folder / "job.json").read_text())
    render = job["settings"]["render"]
    for t, stands in enumerate(np.load(folder / "scene.npz")["stands"]):
        for c in range(len(job["cameras"])):
            seen = np.full((render["resolution_y"], render["resolution_x"], 3), 10 * c, np.uint8)
            seen[0, 0, 0] = round(100 * abs(stands[len(job["parts"]) + c, 0, 3]))  # where the camera stands
            Image.fromarray(seen).save(folder / f"{{t:04d}}_{{c}}.png")
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "scene.xml"
    path.write_text(SCENE)
    return path


def states(model: Path, count: int) -> NDArray[np.float64]:
    """The hand moves a centimetre a state."""
    qpos = mujoco.MjModel.from_xml_path(str(model)).qpos0[None].repeat(count, 0)
    qpos[:, -1] = 0.01 * np.arange(count)
    return qpos


def fake(folder: Path, does: str = "", version: str = "4.5.0 fake", **more: str) -> dict[str, str]:
    """The environment of one that names a stand-in for Blender."""
    program = folder / "blender"
    program.write_text(FAKE.format(python=sys.executable, does=does, version=version))
    program.chmod(0o755)
    return {VARIABLE: str(program), **more}


def drawn(hero: RendererHero, model: Path, qpos: NDArray[np.float64], *cameras: str, **more) -> list[dict[str, Images]]:
    wanted = {"depth": False, "segmentation": False} | more
    return list(hero.render(model, qpos, cameras, WIDTH, HEIGHT, **wanted))


def test_every_state_and_camera_comes_back_in_its_place(model: Path, tmp_path: Path) -> None:
    qpos = states(model, AT_ONCE + 2)  # more than one process takes
    pictures = drawn(RendererHero(fake(tmp_path)), model, qpos, "fixed", "moving")
    assert [images["moving"].color[0, 0, 0] for images in pictures] == list(range(AT_ONCE + 2))
    assert all(images["moving"].color[1, 1, 0] == 10 and images["fixed"].color[1, 1, 0] == 0 for images in pictures)
    assert pictures[0]["fixed"].color.shape == (HEIGHT, WIDTH, 3) and pictures[0]["fixed"].depth is None


def test_depth_and_labels_are_those_of_the_other_renderers(model: Path, tmp_path: Path) -> None:
    qpos = states(model, 2)

    def work() -> None:
        mine = drawn(RendererHero(fake(tmp_path)), model, qpos, *CAMERAS, depth=True, segmentation=True)
        other = RendererMujoco().render(model, qpos, CAMERAS, WIDTH, HEIGHT, depth=True, segmentation=True)
        for ours, theirs in zip(mine, other, strict=True):
            for name in CAMERAS:
                ious = [iou(ours[name].segmentation == b, theirs[name].segmentation == b) for b in range(4)]
                assert min(ious) >= 0.99
                assert np.median(np.abs(ours[name].depth - theirs[name].depth)) <= 1e-3

    map_items(lambda _, folder: work(), [("drawing", None)], tmp_path / "drawn", what="drawing")


def test_the_job_says_where_everything_is_seen(model: Path, tmp_path: Path) -> None:
    """Corners of a body, seen as Blender sees by lens, shift and stand, lie where the intrinsics and poses put them."""
    qpos = states(model, 3)
    replay = RendererMujoco().replay(model, qpos, CAMERAS, WIDTH, HEIGHT)
    write_job(tmp_path, model, qpos, CAMERAS, (WIDTH, HEIGHT), None, PATHS)
    job, arrays = json.loads((tmp_path / "job.json").read_text()), np.load(tmp_path / "scene.npz")
    k = next(k for k in range(len(job["parts"])) if len(arrays[f"faces_{k}"]) == 8)  # the wedge
    corners = np.column_stack([arrays[f"vertices_{k}"], np.ones(len(arrays[f"vertices_{k}"]))])
    for c, camera in enumerate(replay.cameras):
        world = corners @ arrays["stands"][2, k].T
        x, y, z, _ = np.linalg.inv(arrays["stands"][2, len(job["parts"]) + c]) @ world.T
        lens, pixels = job["cameras"][c]["lens"], job["cameras"][c]["render"]
        mm, squeeze = lens["lens"] / lens["sensor_width"], pixels["pixel_aspect_y"] / pixels["pixel_aspect_x"]
        u = (WIDTH - 1) / 2 + WIDTH * (mm * x / -z - lens["shift_x"])
        v = (HEIGHT - 1) / 2 - WIDTH / squeeze * (mm * y / -z - lens["shift_y"])
        pose = replay.camera_poses[2, c]
        turned = np.empty(9)
        mujoco.mju_quat2Mat(turned, pose[3:])
        px, py, pz = turned.reshape(3, 3).T @ (world[:, :3] - pose[:3]).T
        assert np.allclose(u, camera.fx * px / pz + camera.cx, atol=1e-3)
        assert np.allclose(v, camera.fy * py / pz + camera.cy, atol=1e-3)
    picture = read_color(tmp_path / next(part["texture"] for part in job["parts"] if part["texture"]))
    assert picture.shape == (64, 64, 3) and picture[..., 2].std() > 30


def test_a_look_reaches_the_job(model: Path, tmp_path: Path) -> None:
    look = Look(textures={"world": "wood"}, tints={"ball": (0.5, 1, 1)}, lamps=(Lamp(kind="point", color=(2, 1, 1)),))
    write_job(tmp_path, model, states(model, 1), CAMERAS, (WIDTH, HEIGHT), look, PATHS)
    job = json.loads((tmp_path / "job.json").read_text())
    sun = job["lights"][0]
    assert len(job["lights"]) == 1 and sun["back"] == pytest.approx((0, 0, 1.9))  # from where the lamp stands
    table = next(part["texture"] for part in job["parts"] if part["texture"])
    assert read_color(tmp_path / table).shape == (256, 256, 3)
    assert any(np.isclose(part["surface"]["Base Color"][0], 0.45**2.2, rtol=1e-2) for part in job["parts"])


@pytest.mark.parametrize(
    ("does", "version", "said"),
    [
        ("print('no such thing'); sys.exit(5)", "4.5", "no such thing"),
        ("os.kill(os.getpid(), 9)", "4.5", "-9"),
        ("time.sleep(60)", "4.5", "within 0.5 s"),
        ("sys.exit(0)", "4.5", "not done"),
        ("", "3.6.1", "Blender 4.5, not 3.6.1"),
    ],
)
def test_a_blender_that_fails_is_told_and_nothing_takes_its_place(
    tmp_path: Path, does: str, version: str, said: str
) -> None:
    started = time.monotonic()
    with pytest.raises(BackendError) as refusal:
        RendererHero(fake(tmp_path, does, version, BLUEPRINT_BLENDER_TIMEOUT_S="0.5" if "sleep" in does else "60"))
    assert said in refusal.value.message and refusal.value.hint and time.monotonic() - started < 30


@pytest.mark.parametrize("named", ["", "/nowhere/blender", "/tmp"])
def test_without_a_blender_it_says_what_to_install(named: str) -> None:
    with pytest.raises(BackendError) as refusal:
        RendererHero({VARIABLE: named} if named else {})
    assert VARIABLE in refusal.value.message and "pip install bpy" in refusal.value.hint


def test_a_picture_that_was_not_drawn_is_no_picture(model: Path, tmp_path: Path) -> None:
    hero = RendererHero(fake(tmp_path))
    (tmp_path / "blender").write_text((tmp_path / "blender").read_text().replace(".png", ".gif"))
    with pytest.raises(BackendError, match="no picture"):
        drawn(hero, model, states(model, 1), "fixed")


def test_states_and_cameras_that_do_not_fit_are_refused(model: Path, tmp_path: Path) -> None:
    hero = RendererHero(fake(tmp_path))
    with pytest.raises(InputError, match="no camera"):
        drawn(hero, model, states(model, 1), "nowhere")
    with pytest.raises(InputError, match="do not fit"):
        drawn(hero, model, np.zeros((1, 3)), "fixed")


def test_its_pictures_are_known_by_name_and_for_development_only(tmp_path: Path) -> None:
    hero = RendererHero(fake(tmp_path))
    assert "Blender 4.5.0 fake" in hero.version and "raster" in hero.version
    source = rule.sensor_source(hero.sensor_source, f"{hero.name} {hero.version}")
    assert source == "blender_cycles"
    verdict = rule.suitability(
        origin="real", sensor_source=source, physics_backend="mujoco", episodes=9, quality=1.0, measurements=()
    )
    assert verdict.level == "development_only"


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0


def test_cycles_covers_the_pixels_that_mujoco_covers(model: Path, tmp_path: Path) -> None:
    """Bodies that glow in colours of their own: each pixel belongs to the body whose colour is the nearest."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"set {VARIABLE} to a Python with bpy 4.5 or to Blender 4.5")
    qpos = states(model, 1)

    def work() -> None:
        hero = RendererHero()
        (mine,) = drawn(hero, model, qpos, *CAMERAS, segmentation=True)
        (again,) = drawn(hero, model, qpos, "fixed")
        assert (again["fixed"].color == mine["fixed"].color).all(), "the same job gives the same pixels"
        (other,) = RendererMujoco().render(model, qpos, CAMERAS, WIDTH, HEIGHT, depth=False, segmentation=True)
        for name in CAMERAS:
            color, labels = mine[name].color.astype(float), other[name].segmentation
            for body, channel in ((2, 0), (3, 1)):  # the red ball, the green wedge
                there = labels == body
                glow = color[..., channel] - np.delete(color, channel, axis=2).max(-1)
                seen = glow > np.median(glow[there]) / 2
                if there.sum() > 200:  # borders are mixed colours: a pixel aside would be 0.94
                    assert iou(seen, there) > 0.95, (name, body)
                    apart = np.argwhere(seen).mean(axis=0) - np.argwhere(there).mean(axis=0)
                    assert np.abs(apart).max() < 0.6, (name, body)
            wood = labels == 1  # its texture lies the same way round
            assert np.corrcoef(color[wood][:, 2], other[name].color[wood][:, 2])[0, 1] > 0.9

    map_items(lambda _, folder: work(), [("drawing", None)], tmp_path / "drawn", what="drawing", timeout_s=300)
