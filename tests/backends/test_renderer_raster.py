"""Our rasteriser against MuJoCo's renderer, drawings with a kept background against whole ones, and looks."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from blueprint.backends.protocols import Images, Renderer
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.backends.renderer_raster import RendererRaster
from blueprint.backends.rendering.look import PATTERNS
from blueprint.backends.rendering.views import Backdrop
from blueprint.core.errors import BackendError, InputError
from blueprint.core.execute import map_items
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.spatial import Pose
from blueprint.model.variation import TEXTURES, CameraShift, Lamp, Look

WIDTH, HEIGHT = 200, 150
SCENE = """<mujoco>
  <statistic extent="1" center="0 0 0.1"/>
  <visual><headlight ambient="0.35 0.35 0.35" diffuse="0.2 0.2 0.2"/>
    <map znear="0.01" zfar="10" shadowclip="1"/></visual>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1="0.9 0.9 0.95" rgb2="0.6 0.6 0.6" width="32" height="192"/>
    <texture name="wood" type="2d" builtin="gradient" rgb1="0.8 0.6 0.4" rgb2="0.4 0.25 0.1" width="64" height="64"/>
    <material name="wood" texture="wood"/>
    <mesh name="wedge" vertex="-0.1 -0.1 0  0.1 -0.1 0  0.1 0.1 0  -0.1 0.1 0  -0.1 0 0.15  0.1 0 0.15"/>
  </asset>
  <worldbody>
    <light type="directional" pos="0.5 -0.5 2" dir="-0.3 0.35 -1" diffuse="0.5 0.5 0.5" specular="0.2 0.2 0.2"/>
    <light type="directional" pos="-1 1 2" dir="0.5 -0.4 -0.8" diffuse="0.15 0.15 0.15" castshadow="false"/>
    <camera name="fixed" pos="0.1 -1.1 0.9" xyaxes="1 0 0 0 0.6 0.8" fovy="50"/>
    <camera name="shifted" pos="0 -0.1 1.4" sensorsize="0.004 0.003" resolution="160 120" focalpixel="140 150"
      principalpixel="13 -8"/>
    <geom name="floor" type="plane" size="3 3 0.1" pos="0 0 -0.4" rgba="0.6 0.6 0.6 1"/>
    <body name="table"><geom type="box" size="0.5 0.4 0.02" pos="0 0 -0.02" material="wood"/></body>
    <body name="ball" pos="-0.2 0.15 0.08"><freejoint/><geom type="sphere" size="0.08" rgba="0.9 0.3 0.2 1"/></body>
    <body name="wedge" pos="0.22 0.1 0"><freejoint/><geom type="mesh" mesh="wedge" rgba="0.2 0.5 0.9 1"/></body>
    <body name="hand" pos="0 0 0.45">
      <joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>
      <joint name="turn" axis="0 0 1"/>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
      <camera name="moving" pos="0 -0.12 0" xyaxes="1 0 0 0 0.9 0.3" fovy="60"/>
      <geom type="capsule" size="0.03 0.06" rgba="0.3 0.8 0.3 1"/>
      <geom type="cylinder" size="0.02 0.05" pos="0 -0.1 -0.1" euler="20 0 0" rgba="0.8 0.8 0.3 1"/>
    </body>
  </worldbody>
</mujoco>"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "scene.xml"
    path.write_text(SCENE)
    return path


def states(model: Path, count: int, seed: int = 0) -> NDArray[np.float64]:
    """The hand wanders; the ball stays; the wedge is pushed in the last third."""
    rng = np.random.default_rng(seed)
    qpos = mujoco.MjModel.from_xml_path(str(model)).qpos0[None].repeat(count, 0)
    qpos[:, -3:] = rng.uniform([-0.3, -0.2, -1], [0.3, 0.2, 1], (count, 3))
    qpos[2 * count // 3 :, 7:9] += rng.uniform(-0.05, 0.05, (count - 2 * count // 3, 2))
    return qpos


def drawn(renderer: Renderer, model: Path, qpos: NDArray[np.float64], cameras: tuple[str, ...], **kwargs) -> list:
    size = {"width": WIDTH, "height": HEIGHT, "depth": True, "segmentation": True} | kwargs
    return list(renderer.render(model, qpos, cameras, **size))


def forked(model: Path, work) -> None:
    """OpenGL belongs in a child process."""
    map_items(lambda _, folder: work(), [("drawing", None)], model.parent / "drawn", what="drawing")


def same_surface(a: Images, b: Images, share: float) -> None:
    assert (a.segmentation == b.segmentation).mean() >= share
    alike = a.segmentation == b.segmentation
    assert np.median(np.abs(a.depth - b.depth)) < 1e-5
    assert np.quantile(np.abs(a.depth - b.depth)[alike], 0.99) < 1e-4


@pytest.mark.parametrize("camera", ["fixed", "moving", "shifted"])
def test_it_draws_what_mujoco_draws(model: Path, camera: str) -> None:
    qpos = states(model, 4)

    def work() -> None:
        ours = drawn(RendererRaster(), model, qpos, (camera,))
        theirs = drawn(RendererMujoco(), model, qpos, (camera,))
        for mine, other in zip(ours, theirs, strict=True):
            same_surface(mine[camera], other[camera], 0.999)
            likeness = structural_similarity(mine[camera].color, other[camera].color, channel_axis=2)
            assert likeness > 0.94, "shadows of thinned-out casters, in a small picture"

    forked(model, work)


def test_a_kept_background_changes_nothing(model: Path) -> None:
    """States drawn together keep what stands still, states drawn one by one keep nothing."""
    qpos = states(model, 9)

    def work() -> None:
        kept = drawn(RendererRaster(), model, qpos, ("fixed", "moving"))
        for t, images in enumerate(kept):
            (alone,) = drawn(RendererRaster(), model, qpos[t : t + 1], ("fixed", "moving"))
            for camera, one in alone.items():
                same_surface(images[camera], one, 0.9999)
                difference = np.abs(images[camera].color.astype(int) - one.color).max(-1)
                assert (difference > 3).mean() < 1e-3, "but for texels at the border of a shadow"

    forked(model, work)


def test_what_moves_throws_its_shadow_on_what_stands_still(model: Path) -> None:
    qpos = states(model, 6)

    def work() -> None:
        table = 1
        frames = [images["fixed"] for images in drawn(RendererRaster(), model, qpos, ("fixed",))]
        gray = np.stack([frame.color.astype(int).sum(-1) for frame in frames])
        bare = np.stack([frame.segmentation == table for frame in frames])
        brightest = np.where(bare, gray, 0).max(0)
        shade = bare & (gray < 0.8 * brightest)
        places = [np.argwhere(one).mean(0) for one in shade if one.sum() > 30]
        assert len(places) > 2
        assert np.ptp(places, axis=0).max() > 10, "shadows move with the hand"

    forked(model, work)


@pytest.mark.parametrize("up", ["0 0.9 0.3", "0 0.3 0.9"])
def test_what_a_table_hides_is_left_out_unseen(model: Path, up: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endless floor and the sky are drawn only where the table, and the floor, leave room for them."""
    endless = SCENE.replace('type="plane" size="3 3 0.1"', 'type="plane" size="0 0 0.1"')
    model.write_text(endless.replace("shadowclip", 'haze="0.3" shadowclip').replace("0 0.9 0.3", up))
    qpos = states(model, 12)
    qpos[:, -2] -= np.linspace(0, 0.6, 12)  # out over the border of the table

    def work() -> None:
        boxes = []
        seen = Backdrop.seen
        with monkeypatch.context() as patched:
            patched.setattr(Backdrop, "seen", lambda *args: boxes.append(seen(*args)) or boxes[-1])
            sparing = drawn(RendererRaster(), model, qpos, ("moving",))
            patched.setattr(Backdrop, "seen", lambda self, frame, poses, width, height: ((0, 0, width, height),) * 2)
            for a, b in zip(sparing, drawn(RendererRaster(), model, qpos, ("moving",)), strict=True):
                assert np.array_equal(a["moving"].color, b["moving"].color)
                assert np.array_equal(a["moving"].depth, b["moving"].depth)
        floor, sky = (np.array([width * height for *_, width, height in some]) for some in zip(*boxes, strict=True))
        assert sky.max() < WIDTH * HEIGHT
        partly = sky if up == "0 0.3 0.9" else floor  # one looks over the horizon
        assert ((partly > 0) & (partly < WIDTH * HEIGHT)).any()

    forked(model, work)


def test_samples_smooth_the_colour_only(model: Path) -> None:
    qpos = states(model, 5)

    def work() -> None:
        for camera in ("fixed", "moving"):
            rough, smooth, plain = (
                drawn(RendererRaster(), model, qpos, (camera,), samples=samples, depth=both, segmentation=both)[4][
                    camera
                ]
                for samples, both in ((1, True), (2, True), (2, False))
            )
            assert np.array_equal(rough.depth, smooth.depth)
            assert np.array_equal(rough.segmentation, smooth.segmentation)
            assert np.array_equal(smooth.color, plain.color) and plain.depth is None
            difference = np.abs(rough.color.astype(int) - smooth.color).max(-1)
            assert 0.001 < (difference > 20).mean() < 0.1, "only edges change"

    forked(model, work)


@pytest.mark.parametrize("renderer", [RendererMujoco(), RendererRaster()])
def test_shifted_cameras_tell_the_truth(model: Path, renderer: Renderer) -> None:
    """Depth through the replay's camera and pose puts the table's pixels on z = 0."""
    shift = CameraShift(translation=(0.02, -0.03, 0.05), rotation=(0.05, -0.04, 0.1), focal=1.1)
    look = Look(cameras={"shifted": shift, "moving": shift})
    qpos = states(model, 1)
    before = renderer.replay(model, qpos, ("shifted", "moving"), WIDTH, HEIGHT)
    replay = renderer.replay(model, qpos, ("shifted", "moving"), WIDTH, HEIGHT, look=look)
    assert replay.cameras[0].fx == pytest.approx(1.1 * before.cameras[0].fx)
    assert replay.cameras[1].fy == pytest.approx(1.1 * before.cameras[1].fy)

    def work() -> None:
        (images,) = drawn(renderer, model, qpos, ("shifted", "moving"), look=look)
        for c, name in enumerate(("shifted", "moving")):
            camera, pose = replay.cameras[c], replay.camera_poses[0, c]
            moved = np.array(before.camera_poses[0, c, :3]) - pose[:3]
            assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(shift.translation))
            T = pose_to_matrix(Pose(position=tuple(pose[:3]), quat_wxyz=tuple(pose[3:])))
            v, u = np.mgrid[0:HEIGHT, 0:WIDTH]
            rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1)
            points = transform_points(T, rays * images[name].depth[..., None])
            top = points[(images[name].segmentation == 1) & (points[..., 2] > -0.01)]
            assert len(top) > 500 and np.abs(top[:, 2]).max() < 1e-3

    forked(model, work)


@pytest.mark.parametrize("renderer", [RendererMujoco(), RendererRaster()])
def test_lamps_and_tints(model: Path, renderer: Renderer) -> None:
    qpos = states(model, 1)
    lamps = (
        Lamp(kind="directional", color=(1.0, 1.0, 1.0), direction=(0.6, 0.0, -1.0), shadow=True),
        Lamp(kind="point", color=(0.5, 0.4, 0.3), position=(0.4, -0.4, 0.8)),
    )

    def work() -> None:
        def picture(look: Look | None) -> tuple[NDArray[np.float64], NDArray[np.uint16]]:
            (images,) = drawn(renderer, model, qpos, ("fixed",), look=look)
            return images["fixed"].color.astype(float), images["fixed"].segmentation

        plain, labels = picture(None)
        dark, same = picture(Look(ambient=0.4))
        assert np.array_equal(labels, same)
        assert dark.mean() < 0.9 * plain.mean()
        lit, _ = picture(Look(lamps=lamps))
        assert np.abs(lit - plain).mean() > 3
        red, _ = picture(Look(tints={"wedge": (1.0, 0.5, 0.5), "world": (0.5, 1.0, 1.0)}))
        wedge, table, ball = labels == 3, labels == 1, labels == 2
        assert red[wedge][:, 2].mean() < 0.75 * plain[wedge][:, 2].mean()
        assert red[table][:, 0].mean() < 0.75 * plain[table][:, 0].mean()
        assert np.abs(red[ball] - plain[ball]).mean() < 1

    forked(model, work)


def test_lamps_shine_as_in_mujoco(model: Path) -> None:
    lamps = (
        Lamp(kind="directional", color=(1.0, 0.9, 0.8), direction=(0.5, 0.3, -1.0), shadow=True),
        Lamp(kind="point", color=(0.5, 0.4, 0.3), position=(0.4, -0.4, 0.8)),
    )
    look = Look(ambient=0.7, lamps=lamps, tints={"ball": (0.8, 1.2, 0.9)})
    qpos = states(model, 1)

    def work() -> None:
        a, b = (
            drawn(r, model, qpos, ("fixed",), look=look)[0]["fixed"].color for r in (RendererRaster(), RendererMujoco())
        )
        assert structural_similarity(a, b, channel_axis=2) > 0.93
        ball = drawn(RendererRaster(), model, qpos, ("fixed",))[0]["fixed"].segmentation == 2
        assert np.abs(a[ball].astype(int) - b[ball]).mean() < 4

    forked(model, work)


def test_every_texture_is_drawn_from_the_seed(model: Path) -> None:
    qpos = states(model, 1)
    assert set(TEXTURES) == set(PATTERNS)

    def work() -> None:
        seen = []
        for kind in TEXTURES:
            look = Look(seed=3, textures={"world": kind})
            first, again = (
                drawn(RendererRaster(), model, qpos, ("shifted",), look=look)[0]["shifted"] for _ in range(2)
            )
            assert np.array_equal(first.color, again.color)
            table = first.segmentation == 1
            seen.append(first.color[table].astype(int))
            other = drawn(RendererRaster(), model, qpos, ("shifted",), look=look.model_copy(update={"seed": 4}))
            assert np.abs(other[0]["shifted"].color[table].astype(int) - seen[-1]).mean() > 2
        assert all(np.abs(a - b).mean() > 2 for k, a in enumerate(seen) for b in seen[:k])
        with pytest.raises(BackendError, match="renderer = raster"):
            drawn(RendererMujoco(), model, qpos, ("fixed",), look=look)

    forked(model, work)


@pytest.mark.parametrize("kind", TEXTURES)
def test_textures_continue_at_their_borders(kind: str) -> None:
    picture = PATTERNS[kind](np.random.default_rng(1)).astype(int)
    inside = (
        np.abs(np.diff(picture, axis=0)).mean(axis=(1, 2)).max(),
        np.abs(np.diff(picture, axis=1)).mean((0, 2)).max(),
    )
    across = np.abs(picture[0] - picture[-1]).mean(), np.abs(picture[:, 0] - picture[:, -1]).mean()
    assert across[0] <= 1.5 * inside[0] + 1 and across[1] <= 1.5 * inside[1] + 1


def test_what_it_cannot_draw_is_refused(model: Path) -> None:
    qpos = states(model, 1)
    with pytest.raises(InputError, match="ball, wedge, hand"):
        drawn(RendererRaster(), model, qpos, ("fixed",), look=Look(tints={"cup": (1.0, 1.0, 1.0)}))
    with pytest.raises(InputError, match="fixed, shifted, moving"):
        RendererRaster().replay(model, qpos, (), 8, 8, look=Look(cameras={"front": CameraShift()}))
    glass = model.parent / "glass.xml"
    glass.write_text(SCENE.replace("0.9 0.3 0.2 1", "0.9 0.3 0.2 0.4"))
    with pytest.raises(BackendError, match="ball"):
        drawn(RendererRaster(), glass, qpos, ("fixed",))
