"""The MuJoCo renderer: geometry, labels, depth and repeatability. Each picture is drawn in a forked process."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from blueprint.backends.protocols import Images
from blueprint.backends.renderer_mujoco import RendererMujoco, average_blocks
from blueprint.core.errors import BackendError, InputError
from blueprint.core.execute import map_items
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.capture import Camera
from blueprint.model.spatial import Pose

WIDTH, HEIGHT = 160, 120
SCENE = """<mujoco>
  <statistic extent="2"/>
  <visual><map znear="0.01" zfar="10"/></visual>
  <worldbody>
    <light pos="0 0 3" dir="0 0 -1"/>
    <light pos="1 0 3" dir="-0.3 0 -1"/>
    <camera name="down" pos="0.1 -0.2 1.5" euler="15 -10 30" fovy="50"/>
    <camera name="shifted" pos="0 0 1.5" sensorsize="0.004 0.003" resolution="160 120" focalpixel="140 150"
      principalpixel="13 -8"/>
    <geom name="floor" type="plane" size="2 2 0.1"/>
    <body name="left" pos="-0.3 0.1 0.1"><freejoint/><geom type="box" size="0.1 0.1 0.1" rgba="1 0 0 1"/></body>
    <body name="right" pos="0.3 -0.1 0.05"><freejoint/><geom type="box" size="0.1 0.05 0.05" rgba="0 0 1 1"/>
      <site name="mark" pos="0 0 0.06" size="0.05" rgba="0 1 0 1"/></body>
  </worldbody>
</mujoco>"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "scene.xml"
    path.write_text(SCENE)
    return path


def start(model: Path) -> NDArray[np.float64]:
    return mujoco.MjModel.from_xml_path(str(model)).qpos0[None].copy()


def draw(
    model: Path, qpos: NDArray[np.float64], camera: str, name: str, width: int = WIDTH, height: int = HEIGHT
) -> dict[str, NDArray]:
    """color (T, H, W, 3), depth and segmentation (T, H, W), drawn in a process of its own."""

    def work(qpos: NDArray[np.float64], folder: Path) -> None:
        frames = [
            images[camera]
            for images in RendererMujoco().render(model, qpos, (camera,), width, height, depth=True, segmentation=True)
        ]
        arrays = {key: np.stack([getattr(f, key) for f in frames]) for key in ("color", "depth", "segmentation")}
        np.savez(folder / "images.npz", **arrays)

    (folder,) = map_items(work, [(name, qpos)], model.parent / "drawn", what="drawing")
    return dict(np.load(folder / "images.npz"))


def rays(camera: Camera) -> NDArray[np.float64]:
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1)


@pytest.mark.parametrize(("width", "height"), [(WIDTH, HEIGHT), (100, 100), (160, 60)])
@pytest.mark.parametrize("camera", ["down", "shifted"])
def test_depth_and_intrinsics_put_every_pixel_on_its_surface(model: Path, camera: str, width: int, height: int) -> None:
    qpos = start(model)
    images = draw(model, qpos, camera, camera, width, height)
    replay = RendererMujoco().replay(model, qpos, (camera,), width, height)
    pose = replay.camera_poses[0, 0]
    T = pose_to_matrix(Pose(position=tuple(pose[:3]), quat_wxyz=tuple(pose[3:])))
    points = transform_points(T, rays(replay.cameras[0]) * images["depth"][0][..., None])
    labels = images["segmentation"][0]
    assert set(np.unique(labels)) == {0, 1, 2}
    floor = (labels == 0) & (images["depth"][0] > 0)  # a wide picture sees past the floor
    assert np.abs(points[floor][:, 2]).max() < 2e-3, "the floor is z = 0"
    for value, center, half in ((1, (-0.3, 0.1, 0.1), (0.1, 0.1, 0.1)), (2, (0.3, -0.1, 0.05), (0.1, 0.05, 0.05))):
        # signed distance to the box: 0 on its faces
        beyond = np.abs(points[labels == value] - center) - half
        distance = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)
        assert np.abs(distance).max() < 2e-3


@pytest.mark.parametrize("camera", ["down", "shifted"])
def test_normals_are_those_of_the_planes_seen(model: Path, camera: str) -> None:
    qpos = start(model)

    def work(_: None, folder: Path) -> None:
        frames = RendererMujoco().render(
            model, qpos, (camera,), WIDTH, HEIGHT, depth=False, segmentation=True, normals=True
        )
        images = next(iter(frames))[camera]
        assert images.depth is None
        np.savez(folder / "images.npz", normals=images.normals, segmentation=images.segmentation)

    (folder,) = map_items(work, [("normals", None)], model.parent / "drawn", what="drawing")
    images = np.load(folder / "images.npz")
    replay = RendererMujoco().replay(model, qpos, (camera,), WIDTH, HEIGHT)
    pose = replay.camera_poses[0, 0]
    T = pose_to_matrix(Pose(position=tuple(pose[:3]), quat_wxyz=tuple(pose[3:])))
    normals = images["normals"] @ T[:3, :3].T
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=1e-5)
    axis = np.abs(normals).max(axis=-1)
    assert (axis > 0.999).mean() > 0.98, "floor and boxes stand along the world's axes"
    assert (normals[images["segmentation"] == 0][:, 2] > 0.999).mean() > 0.99, "the floor looks up"


def test_labels_are_body_ids_and_colours_match_them(model: Path) -> None:
    images = draw(model, start(model), "down", "labels")
    assert RendererMujoco().replay(model, start(model), (), 8, 8).bodies == ("world", "left", "right")
    left, right = (images["color"][0][images["segmentation"][0] == value].astype(int) for value in (1, 2))
    assert (left[:, 0] > left[:, 2]).mean() > 0.99
    assert (right[:, 2] > right[:, 0]).mean() > 0.99
    green = images["color"][0].astype(int)
    assert not ((green[..., 1] > 120) & (green[..., 0] < 60)).any(), "sites are not drawn"


def test_moving_a_body_moves_its_pixels_and_its_pose(model: Path) -> None:
    qpos = start(model).repeat(2, 0)
    qpos[1, 0] += 0.2
    images = draw(model, qpos, "down", "moving")
    before, after = (np.argwhere(labels == 1).mean(0) for labels in images["segmentation"])
    assert np.linalg.norm(after - before) > 10
    poses = RendererMujoco().replay(model, qpos, (), 8, 8).body_poses
    np.testing.assert_allclose(poses[1, 1, :3] - poses[0, 1, :3], (0.2, 0, 0), atol=1e-12)


def test_the_same_states_give_the_same_pixels_in_another_process(model: Path) -> None:
    qpos = start(model)
    first, second = draw(model, qpos, "down", "first"), draw(model, qpos, "down", "second")
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_one_light_casts_a_shadow(model: Path) -> None:
    """The box at the left shades the floor beside it; with a second shadow the picture would cost twice as much."""
    images = draw(model, start(model), "down", "shadow")
    floor = images["color"][0][images["segmentation"][0] == 0].astype(int).sum(1)
    assert floor.min() < 0.7 * np.median(floor)


def test_unknown_cameras_and_misfit_states_are_named(model: Path) -> None:
    with pytest.raises(InputError, match="down, shifted"):
        RendererMujoco().replay(model, start(model), ("front",), 8, 8)
    with pytest.raises(InputError, match="nq = 14"):
        RendererMujoco().replay(model, np.zeros((1, 3)), ("down",), 8, 8)
    with pytest.raises(InputError, match="no model"):
        RendererMujoco().replay(model.parent / "nothing.xml", np.zeros((1, 3)), (), 8, 8)


def test_samples_average_the_colour_and_leave_depth_and_labels(model: Path) -> None:
    def drawn(samples: int, segmentation: bool) -> Images:
        frames = RendererMujoco().render(
            model, start(model), ("down",), WIDTH, HEIGHT, depth=True, segmentation=segmentation, samples=samples
        )
        return next(iter(frames))["down"]

    def work(_: None, folder: Path) -> None:
        rough, smooth, unlabelled = drawn(1, True), drawn(3, True), drawn(3, False)
        assert np.array_equal(rough.segmentation, smooth.segmentation)
        assert np.array_equal(rough.depth, smooth.depth) and np.array_equal(rough.depth, unlabelled.depth)
        assert np.array_equal(smooth.color, unlabelled.color)
        difference = np.abs(rough.color.astype(int) - smooth.color).max(-1)
        assert 0.001 < (difference > 20).mean() < 0.1, "only edges change"

    map_items(work, [("samples", None)], model.parent / "drawn", what="drawing")


def test_blocks_average_and_round() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2, :2, 0] = [[0, 1], [2, 3]]
    assert average_blocks(picture, 2)[0, 0, 0] == 2  # 1.5 rounds up
    np.testing.assert_array_equal(average_blocks(picture, 1), picture)


def test_a_machine_without_off_screen_opengl_is_told_what_to_install(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", "99")  # read by the forked child, which has no display yet
    with pytest.raises(BackendError, match="libegl1 libegl-mesa0 libgl1-mesa-dri"):
        draw(model, start(model), "down", "nowhere")


ENDLESS = """<mujoco>
  <statistic extent="1" center="0 0 0"/>
  <visual><map znear="0.01" zfar="20" shadowclip="1"/><rgba haze="1 1 1 1"/></visual>
  <asset><texture type="skybox" builtin="flat" rgb1="1 1 1" rgb2="1 1 1" width="16" height="16"/></asset>
  <worldbody>
    <light type="directional" pos="0.6 -0.8 2.2" dir="-0.3 0.35 -1"/>
    <camera name="wide" pos="0 -1.5 1" xyaxes="1 0 0 0 0.7 0.7" fovy="70"/>
    <geom name="floor" type="plane" size="0 0 0.1" pos="0 0 -0.75" rgba="0.6 0.6 0.6 1"/>
    <body name="box" pos="0 0 0.1"><freejoint/><geom type="box" size="0.1 0.1 0.1"/></body>
  </worldbody>
</mujoco>"""


def test_an_endless_floor_has_no_dots_and_no_horizon(tmp_path: Path) -> None:
    """It would shade itself in a dotted pattern where the shadow map ends."""
    model = tmp_path / "endless.xml"
    model.write_text(ENDLESS)
    images = draw(model, start(model), "wide", "endless")
    gray = images["color"][0].astype(int).mean(-1)
    column = gray[:, 5]  # left of the box and of its shadow, from the sky down to the floor
    assert np.abs(np.diff(column)).max() < 6
    assert column[0] > column[-1] + 20, "the far end is lighter than the near one"
    assert set(np.unique(images["segmentation"][0])) == {0, 1}
    assert (images["depth"][0][-1] > 0).all()
