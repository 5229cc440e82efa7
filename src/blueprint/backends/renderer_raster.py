"""Our own OpenGL program for MuJoCo's scenes: colour, depth and labels in one pass, made for processors without a GPU.

It covers the pixels that MuJoCo's renderer covers and lights them by the same equations; only what costs is done less:

- colour, label and depth come from one drawing, without multisampling
- a fixed camera's background is drawn once as it is and once in the shadow. A frame puts them together under its own
  shadow map and draws only what moves. A moving camera's frames are drawn whole, but for what the table hides
- what moves along with a camera (a gripper before a wrist camera) is drawn with the faces only that it can see
- shadows are cast by thinned-out meshes; parts outside the picture are skipped, near ones come first
- shadows of what stands still are cast once

What stands still is found from the states asked for: it stays within 0.02 mm of where it is in the first of them.
The graphics context is made at the first `render` and dies with the iterator: call it in a forked child only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Images, Replay
from blueprint.backends.renderer_mujoco import RendererMujoco, camera_id, load, mujoco, place, require_fit
from blueprint.backends.rendering.drawing import Drawing, drawing
from blueprint.backends.rendering.geometry import Caster, Part, shadow_casters, visible_parts
from blueprint.backends.rendering.look import dressed, lights_of, textured
from blueprint.backends.rendering.normals import normals_of_depth
from blueprint.backends.rendering.shaders import LIGHTS, PARTS
from blueprint.backends.rendering.views import Motion
from blueprint.core.errors import BackendError
from blueprint.model.capture import Camera
from blueprint.model.variation import Look

Array = NDArray[np.float64]

MOST_BODIES = 255  # a label has eight bits


class RendererRaster:
    """See `Renderer`. Pixels come from OpenGL; bodies, materials and lights are what MuJoCo's visualiser names."""

    name = "raster"
    version = "3"
    sensor_source = "mujoco"  # whose scene it draws; the receipt names the renderer

    def replay(
        self,
        model: Path,
        qpos: Array,
        cameras: tuple[str, ...],
        width: int,
        height: int,
        *,
        look: Look | None = None,
    ) -> Replay:
        """See `Renderer.replay`. Raises InputError for an unknown camera or a state that does not fit the model."""
        _casters(load(model))  # once: forked children inherit them
        return RendererMujoco().replay(model, qpos, cameras, width, height, look=look)

    def render(
        self,
        model: Path,
        qpos: Array,
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
        """See `Renderer.render`. Raises BackendError without EGL and for soft or transparent bodies, InputError."""
        mj_model = load(model)
        require_fit(mj_model, qpos)
        if not len(qpos):
            return
        casters = _casters(mj_model)
        mj_model = dressed(mj_model, look)
        data = mujoco.MjData(mj_model)
        place(mj_model, data, qpos[0])
        scene = _scene(mj_model, data)
        parts, pictures = textured(_parts(mj_model, scene), mj_model, look)
        lights = lights_of(scene, look, mj_model.stat.center)
        if len(lights) > LIGHTS:
            raise BackendError(f"the raster renderer knows {LIGHTS} lights", "set run.renderer = mujoco")
        views = [camera_id(mj_model, name) for name in cameras]
        motion = Motion.of(mj_model, parts, qpos, views, width, height)
        whole = depth or segmentation or normals
        kinds = {1, samples} if whole else {samples}
        with drawing(mj_model, motion, lights, casters, pictures, tuple(kinds)) as pencil:
            for t in range(len(qpos)):
                pencil.begin(t)
                yield {
                    name: _images(pencil, c, t, motion.cameras[c], samples, depth, segmentation, normals)
                    for c, name in enumerate(cameras)
                }


def _images(
    pencil: Drawing, c: int, t: int, camera: Camera, samples: int, depth: bool, segmentation: bool, normals: bool
) -> Images:
    if not (depth or segmentation or normals):
        return Images(pencil.color(c, t, samples), None, None)
    images = pencil.images(c, t)
    assert images.depth is not None
    return Images(
        color=images.color if samples == 1 else pencil.color(c, t, samples),
        depth=images.depth if depth else None,
        segmentation=images.segmentation if segmentation else None,
        normals=normals_of_depth(images.depth, camera) if normals else None,
    )


def _scene(model: Any, data: Any) -> Any:
    scene = mujoco.MjvScene(model, 10_000)
    option = mujoco.MjvOption()
    option.sitegroup[:] = 0  # sites are for planning, not to be seen
    mujoco.mjv_updateScene(model, data, option, None, mujoco.MjvCamera(), mujoco.mjtCatBit.mjCAT_ALL, scene)
    return scene


def _parts(model: Any, scene: Any) -> tuple[Part, ...]:
    parts = visible_parts(model, scene)
    if not parts or max(part.body for part in parts) > MOST_BODIES or len(parts) > PARTS:
        raise BackendError(
            f"the raster renderer draws 1 to {MOST_BODIES} bodies of {PARTS} parts", "set run.renderer = mujoco"
        )
    return parts


@lru_cache(maxsize=1)
def _casters(model: Any) -> tuple[Caster, ...]:
    """Of every visible part, in their order; a look changes neither."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return shadow_casters(_parts(model, _scene(model, data)))
