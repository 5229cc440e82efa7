"""An off-screen view of a MuJoCo model that changes between draws. Lives in one process; close it by `with`."""

from __future__ import annotations

from types import TracebackType

import mujoco
import numpy as np
from mujoco.egl import GLContext  # by name: `mujoco.Renderer` takes what MUJOCO_GL was when mujoco was first imported
from numpy.typing import NDArray

MAX_GEOMS = 1000


class Eye:
    """Draws through the model's first camera."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        self._model = model
        self._gl = GLContext(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        self._camera = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self._rect = mujoco.MjrRect(0, 0, width, height)

    def __enter__(self) -> Eye:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._context.free()
        self._gl.free()

    def draw(self, data: mujoco.MjData) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """(H, W, 3) colour and (H, W) depth along the optical axis [m]."""
        option = mujoco.MjvOption()
        mujoco.mjv_updateScene(self._model, data, option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        color, buffer = self._read()
        scale = float(self._model.stat.extent)
        near, far = self._model.vis.map.znear * scale, self._model.vis.map.zfar * scale
        # reversed depth, far = 0: z = n f / (n + d (f - n))
        return color, (near * far / (near + buffer.astype(np.float64) * (far - near))).astype(np.float32)

    def geoms(self) -> NDArray[np.int32]:
        """(H, W) geom id of the last draw, -1 = none."""
        flags = self._scene.flags
        both = (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR)
        for flag in both:
            flags[flag] = 1
        code = self._read()[0].astype(np.int32)
        for flag in both:
            flags[flag] = 0
        segment = code[..., 0] | code[..., 1] << 8 | code[..., 2] << 16  # 0 = nothing, else segid + 1
        ids = np.full(self._scene.ngeom + 1, -1, np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                ids[geom.segid + 1] = geom.objid
        return ids[segment]

    def _read(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        color = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        depth = np.empty((self._rect.height, self._rect.width), np.float32)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(color, depth, self._rect, self._context)
        return color[::-1].copy(), depth[::-1].copy()
