"""MuJoCo's classic renderer on EGL, tuned for software rasterisers.

The defaults (4x multisampling, 4096 shadow map for every light, reflections) cost 25 times as much as one 1024 shadow
map without multisampling. Anti-aliasing draws colour finer and averages, which costs a quarter more for 2 x 2 samples;
multisampling costs twice as much.

The graphics context is made at the first `render` and dies with the iterator: call it in a forked child only.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Images, Replay
from blueprint.backends.rendering.look import GL_FROM_CV, dressed, lights_of
from blueprint.backends.rendering.normals import normals_of_depth
from blueprint.core.errors import BackendError, InputError
from blueprint.model.capture import Camera
from blueprint.model.variation import Look

# mujoco reads these once, at import
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
# one process per episode already fills the cores: rasterise in the calling thread
os.environ.setdefault("LP_NUM_THREADS", "0")

mujoco: Any = import_module("mujoco")  # Any: its C extension has no stubs

SHADOW_MAP = 1024
SHADOW_REACH_M = 1.0  # half width of what a directional light's map covers: 2 mm per texel
MAX_GEOMS = 10_000
FOG_M = (2.0, 6.0)  # where fog begins and where nothing else is left; objects are nearer
ALMOST_OPAQUE = 0.99  # MuJoCo takes alpha below 0.995 for transparent


class RendererMujoco:
    """See `Renderer`. Pixels come from MuJoCo's OpenGL rasteriser."""

    name = "mujoco"
    version = mujoco.__version__
    sensor_source = "mujoco"

    def replay(
        self,
        model: Path,
        qpos: NDArray[np.float64],
        cameras: tuple[str, ...],
        width: int,
        height: int,
        *,
        look: Look | None = None,
    ) -> Replay:
        """See `Renderer.replay`. Raises InputError for an unknown camera or a state that does not fit the model."""
        mj_model = dressed(load(model), look)
        camera_ids = [camera_id(mj_model, name) for name in cameras]
        require_fit(mj_model, qpos)
        data = mujoco.MjData(mj_model)
        body_poses = np.empty((len(qpos), mj_model.nbody, 7))
        camera_poses = np.empty((len(qpos), len(cameras), 7))
        for t, row in enumerate(qpos):
            place(mj_model, data, row)
            body_poses[t, :, :3] = data.xpos
            body_poses[t, :, 3:] = data.xquat
            for c, camera in enumerate(camera_ids):
                camera_poses[t, c, :3] = data.cam_xpos[camera]
                rotation = data.cam_xmat[camera].reshape(3, 3) @ GL_FROM_CV
                mujoco.mju_mat2Quat(camera_poses[t, c, 3:], rotation.ravel())
        return Replay(
            bodies=tuple(mj_model.body(i).name or f"body_{i}" for i in range(mj_model.nbody)),
            body_poses=body_poses,
            camera_poses=camera_poses,
            cameras=tuple(intrinsics(mj_model, camera, width, height) for camera in camera_ids),
        )

    def render(
        self,
        model: Path,
        qpos: NDArray[np.float64],
        cameras: tuple[str, ...],
        width: int,
        height: int,
        *,
        depth: bool,
        segmentation: bool,
        samples: int = 1,
        normals: bool = False,
        look: Look | None = None,
    ) -> Iterator[dict[str, Images]]:
        """See `Renderer.render`. Raises BackendError without EGL or for textures of a look, InputError as `replay`."""
        if look is not None and look.textures:
            raise BackendError("MuJoCo's renderer cannot change textures", "set run.renderer = raster")
        mj_model = dressed(load(model), look)
        camera_ids = {name: camera_id(mj_model, name) for name in cameras}
        require_fit(mj_model, qpos)
        with _canvas(mj_model, width, height, samples, look) as canvas:
            data = mujoco.MjData(mj_model)
            for row in qpos:
                place(mj_model, data, row)
                drawn = {
                    name: canvas.draw(data, camera, depth=depth or normals, segmentation=segmentation)
                    for name, camera in camera_ids.items()
                }
                if normals:
                    for name, camera in camera_ids.items():
                        drawn[name] = _with_normals(drawn[name], intrinsics(mj_model, camera, width, height), depth)
                yield drawn


def _with_normals(images: Images, camera: Camera, depth: bool) -> Images:
    assert images.depth is not None
    return replace(images, normals=normals_of_depth(images.depth, camera), depth=images.depth if depth else None)


class _Canvas:
    """An off-screen framebuffer of one model. Lives in one process and thread."""

    def __init__(self, model: Any, width: int, height: int, samples: int, context: Any, look: Look | None) -> None:
        self._model, self._look = model, look
        self._context = context
        self._samples = samples
        self._fine = mujoco.MjrRect(0, 0, width * samples, height * samples)
        self._plain = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._fog = int(_has_haze(model))
        self._scene.flags[mujoco.mjtRndFlag.mjRND_FOG] = self._fog
        self._scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 0
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0  # sites are for planning, not to be seen
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._fine_color = np.empty((height * samples, width * samples, 3), np.uint8)
        self._code = np.empty((height, width, 3), np.uint8)
        self._buffer = np.empty((height, width), np.float32)

    def draw(self, data: Any, camera: int, *, depth: bool, segmentation: bool) -> Images:
        self._camera.fixedcamid = camera
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        lights = lights_of(self._scene, self._look, self._model.stat.center)
        self._scene.nlight = len(lights)
        for light, slot in zip(lights, self._scene.lights, strict=False):
            light.write(slot)
        one_pass = depth and self._samples == 1
        mujoco.mjr_render(self._fine, self._scene, self._context)
        mujoco.mjr_readPixels(self._fine_color, self._buffer if one_pass else None, self._fine, self._context)
        color = average_blocks(self._fine_color[::-1], self._samples)
        if segmentation or (depth and not one_pass):
            self._draw_ids()
        metres = self._metres(self._buffer[::-1]) if depth else None
        return Images(color, metres, self._body_ids() if segmentation else None)

    def _draw_ids(self) -> None:
        """The scene of the last `draw` once more, flat, in the colours of the geoms' ids, with its depth."""
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        flags[mujoco.mjtRndFlag.mjRND_FOG] = 0
        mujoco.mjr_render(self._plain, self._scene, self._context)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        flags[mujoco.mjtRndFlag.mjRND_FOG] = self._fog
        mujoco.mjr_readPixels(self._code, self._buffer, self._plain, self._context)

    def _metres(self, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth along the optical axis from the reversed depth buffer d (far = 0): z = n f / (n + d (f - n)).

        Pixels at the far plane (nothing there) become 0.
        """
        near, far = (
            float(plane) * self._model.stat.extent for plane in (self._model.vis.map.znear, self._model.vis.map.zfar)
        )
        z = near * far / (near + buffer.astype(np.float64) * (far - near))
        return np.where(buffer > 0, z, 0.0).astype(np.float32)

    def _body_ids(self) -> NDArray[np.uint16]:
        code = self._code[::-1].astype(np.uint32)
        segment = code[..., 0] | code[..., 1] << 8 | code[..., 2] << 16  # 0 = background, else segid + 1
        bodies = np.zeros(self._scene.ngeom + 1, np.uint16)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                bodies[geom.segid + 1] = self._model.geom_bodyid[geom.objid]
        return bodies[segment]


def average_blocks(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(H * size, W * size, 3) -> (H, W, 3), each pixel the rounded mean of its block; a copy."""
    if size == 1:
        return picture.copy()
    height, width = picture.shape[0] // size, picture.shape[1] // size
    total = np.zeros((height, width, 3), np.uint16)
    for row in range(size):
        for column in range(size):
            total += picture[row::size, column::size]
    return ((total + size * size // 2) // (size * size)).astype(np.uint8)


@contextmanager
def _canvas(model: Any, width: int, height: int, samples: int, look: Look | None) -> Iterator[_Canvas]:
    model = copy.copy(model)
    _fit_sensors(model, width / height)
    model.vis.global_.offwidth = width * samples
    model.vis.global_.offheight = height * samples
    gl = gl_context(width, height)
    gl.make_current()
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    try:
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        yield _Canvas(model, width, height, samples, context, look)
    finally:
        context.free()
        gl.free()


def gl_context(width: int, height: int) -> Any:
    """An EGL context on a device without a screen. Raises BackendError when the drivers are missing."""
    try:
        from mujoco.egl import GLContext

        return GLContext(width, height)
    except (ImportError, RuntimeError, AttributeError) as error:
        # PyOpenGL raises AttributeError when libEGL itself is missing
        raise BackendError(
            f"no off-screen OpenGL: {error}",
            "install the EGL libraries and the software driver: apt install libegl1 libegl-mesa0 libgl1-mesa-dri",
        ) from error


def load(path: Path) -> Any:
    """Compiled once per process and inherited by forked children. Raises InputError when MuJoCo refuses the file."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"no model at {path}", "run the workcell stage first") from error
    return _compile(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)
def _compile(path: str, mtime_ns: int, size: int) -> Any:
    try:
        model = mujoco.MjModel.from_xml_path(path)
    except ValueError as error:
        raise InputError(f"{path} does not compile: {error}", "run: blueprint check DIR") from error
    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = SHADOW_MAP
    model.vis.map.shadowclip = min(model.vis.map.shadowclip, SHADOW_REACH_M / model.stat.extent)
    _keep_planes_from_shading(model)
    return model


def _keep_planes_from_shading(model: Any) -> None:
    """A ground plane shades nothing but, by rounding, itself, in a dotted pattern. Transparent geoms cast no shadow."""
    planes = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    model.geom_rgba[planes, 3] = np.minimum(model.geom_rgba[planes, 3], ALMOST_OPAQUE)
    only_of_planes = set(model.geom_matid[planes]) - set(model.geom_matid[~planes]) - {-1}
    for material in only_of_planes:
        model.mat_rgba[material, 3] = min(model.mat_rgba[material, 3], ALMOST_OPAQUE)
    # the haze at the horizon would end a transparent plane with an edge: fog of the same colour takes its place
    model.vis.map.fogstart, model.vis.map.fogend = np.array(FOG_M) / model.stat.extent
    model.vis.rgba.fog[:] = model.vis.rgba.haze


def _has_haze(model: Any) -> bool:
    endless = (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE) & (model.geom_size[:, :2] == 0).any(axis=1)
    return bool(endless.any()) and model.vis.map.haze > 0


def _fit_sensors(model: Any, aspect: float) -> None:
    """MuJoCo squeezes a sensor into a picture of another aspect; crop or widen the sensor at its sides instead."""
    given = model.cam_sensorsize[:, 1] > 0
    model.cam_sensorsize[given, 0] = model.cam_sensorsize[given, 1] * aspect


def place(model: Any, data: Any, qpos: NDArray[np.float64]) -> None:
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)


def camera_id(model: Any, name: str) -> int:
    camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if camera < 0:
        known = ", ".join(model.camera(i).name for i in range(model.ncam)) or "none"
        raise InputError(f"no camera {name!r} in the model; it has: {known}")
    return camera


def require_fit(model: Any, qpos: NDArray[np.float64]) -> None:
    if qpos.ndim != 2 or qpos.shape[1] != model.nq:
        raise InputError(f"states of shape {qpos.shape} do not fit a model with nq = {model.nq}")


def intrinsics(model: Any, camera: int, width: int, height: int) -> Camera:
    """From the vertical field of view; pixel centres have integer coordinates.

    MuJoCo shifts the frustum, not the picture, by a camera's `principalpixel`: (cx, cy) = middle - principalpixel.
    """
    cx, cy = (width - 1) / 2, (height - 1) / 2
    sensor_height = model.cam_sensorsize[camera, 1]
    if sensor_height > 0:
        fx, fy, px, py = model.cam_intrinsic[camera] / sensor_height * height
        return Camera(width=width, height=height, fx=fx, fy=fy, cx=cx - px, cy=cy - py)
    focal = height / 2 / np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    return Camera(width=width, height=height, fx=focal, fy=focal, cx=cx, cy=cy)
