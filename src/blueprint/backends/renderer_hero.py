"""Path-traced pictures for people to look at: Blender Cycles on the processor, in a process and environment of its own.

`BLUEPRINT_BLENDER` names a Python that has the package bpy, or a blender program; `BLUEPRINT_BLENDER_TIMEOUT_S` bounds
each picture (600). What is seen (bodies, textures, looks, cameras) is what raster draws, and depth, labels and normals
are raster's pictures of it. The light is not MuJoCo's: each lamp becomes a wide sun, the ambient light comes from the
whole sky, and AgX maps brightness to the picture. See `workers/blender_hero.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Images
from blueprint.backends.reconstruction.learned_run import WORKERS
from blueprint.backends.renderer_mujoco import RendererMujoco, camera_id, intrinsics, load, mujoco, place, require_fit
from blueprint.backends.renderer_raster import RendererRaster
from blueprint.backends.rendering.geometry import Part, visible_parts
from blueprint.backends.rendering.look import Light, dressed, lights_of, textured
from blueprint.core.errors import BackendError, InputError
from blueprint.core.process import last_lines, run_apart
from blueprint.formats import images
from blueprint.model.capture import Camera
from blueprint.model.variation import Look

Array = NDArray[np.float64]

VARIABLE = "BLUEPRINT_BLENDER"
INSTALL = f"""in an environment of its own: pip install bpy==4.5.15 (Python 3.11), or install Blender 4.5 (blender.org)
then: export {VARIABLE}=/that/environment/bin/python   (or =/opt/blender/blender)"""
AT_ONCE = 8  # states per process: it starts in seconds, and what it holds on disk stays small
PATHS = 16  # per pixel and sample; the denoiser does the rest
SUN, SKY, BACKDROP = 5.0, 0.25, 0.5  # on MuJoCo's directional and ambient light; on its haze: white robots stand out
SOFT_SUN = 0.25  # angle [rad] under which a lamp is seen: a window rather than the sun
FADE_M = (1.6, 4.5)  # where the endless floor begins to turn into the sky's colour, and where it has
VIEW = {"view_transform": "AgX", "look": "AgX - Medium High Contrast", "exposure": 0.35}

NOTHING = Images(np.empty((0, 0, 3), np.uint8), None, None)


class RendererHero(RendererMujoco):
    """See `Renderer`. samples: 16 paths per pixel for 1, 64 for 2, 256 for 4. Kinematics and cameras are MuJoCo's.

    Constructing it asks Blender for its version. Raises BackendError that says what to install.
    """

    name = "hero"
    sensor_source = "blender_cycles"  # path-traced from the simulation
    seconds_per_picture = 120.0  # at one sample on a busy machine, see the recording

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        with tempfile.TemporaryDirectory() as folder:
            _run(Path(folder), environ, 1)
            blender = str(json.loads((Path(folder) / "blender.json").read_text())["blender"])
        if not blender.startswith("4.5"):
            raise BackendError(f"the hero renderer is written for Blender 4.5, not {blender}", INSTALL)
        self.version = f"1, Blender {blender}; depth and labels by raster {RendererRaster.version}"

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
        """See `Renderer.render`. Raises BackendError when Blender fails or is too slow, InputError as `replay`."""
        exact = depth or segmentation or normals
        wanted = {"depth": depth, "segmentation": segmentation, "normals": normals}
        truth = RendererRaster().render(model, qpos, cameras, width, height, look=look, **wanted) if exact else None
        for first in range(0, len(qpos), AT_ONCE):
            rows = qpos[first : first + AT_ONCE]
            with tempfile.TemporaryDirectory() as folder:
                write_job(Path(folder), model, rows, cameras, (width, height), look, PATHS * samples**2)
                _run(Path(folder), self._environ, len(rows) * len(cameras))
                for t in range(len(rows)):
                    known = next(truth) if truth else dict.fromkeys(cameras, NOTHING)
                    files = {name: Path(folder) / f"{t:04d}_{c}.png" for c, name in enumerate(cameras)}
                    yield {name: replace(known[name], color=_read(file)) for name, file in files.items()}


def _read(file: Path) -> NDArray[np.uint8]:
    try:
        return images.read_color(file)
    except InputError as error:
        raise BackendError(f"Blender wrote no picture that can be read: {error.message}", INSTALL) from error


def _run(folder: Path, environ: Mapping[str, str], pictures: int) -> None:
    """Blender does the job in `folder`. Raises BackendError when none is named, it fails, or takes too long."""
    text, record = environ.get(VARIABLE, ""), folder / "log"
    if not text:
        raise BackendError(f"the hero renderer draws with Blender, and {VARIABLE} names none", INSTALL)
    python = Path(text).name.startswith("python")
    alone = () if python else ("--background", "--factory-startup", "--python-exit-code", "3", "--python")
    command = [text, *alone, str(WORKERS / "blender_hero.py"), *(() if python else ("--",)), str(folder)]
    limit_s = pictures * float(environ.get("BLUEPRINT_BLENDER_TIMEOUT_S") or 600)
    try:
        code = run_apart(command, record, environ, limit_s)
    except subprocess.TimeoutExpired as error:
        hint = "raise BLUEPRINT_BLENDER_TIMEOUT_S, or ask for smaller pictures or fewer samples"
        raise BackendError(f"Blender did not draw {pictures} picture(s) within {limit_s:g} s", hint) from error
    except OSError as error:
        raise BackendError(f"{VARIABLE}={text} is no program that runs: {error}", INSTALL) from error
    if code or not (folder / "blender.json").is_file():
        hint = "it may have run out of memory: draw smaller pictures" if code == -9 else INSTALL
        raise BackendError(f"Blender ended with {code}, not done: {last_lines(record)}", hint)


# ------------------------------------------------------------------ the job


def write_job(
    folder: Path,
    model: Path,
    qpos: Array,
    cameras: tuple[str, ...],
    size: tuple[int, int],
    look: Look | None,
    paths: int,
) -> None:
    """job.json, textures and scene.npz, as `workers/blender_hero.py` reads them. size: (width, height)

    scene.npz: stands (T, P + C, 4, 4), T_world_x of parts and cameras, these looking along -z; of part k vertices_k and
    normals_k (V, 3), uv_k (V, 2), faces_k (F, 3). Raises BackendError for what raster does not draw.
    """
    given = load(model)
    require_fit(given, qpos)
    mj_model = dressed(given, look)
    data, scene, option = mujoco.MjData(mj_model), mujoco.MjvScene(mj_model, 10_000), mujoco.MjvOption()
    place(mj_model, data, qpos[0])
    option.sitegroup[:] = 0  # sites are for planning, not to be seen
    mujoco.mjv_updateScene(mj_model, data, option, None, mujoco.MjvCamera(), mujoco.mjtCatBit.mjCAT_ALL, scene)
    parts, pictures = textured(visible_parts(mj_model, scene), mj_model, look)
    views = [camera_id(mj_model, name) for name in cameras]
    arrays: dict[str, Any] = {"stands": _stands(mj_model, data, qpos, [part.geom for part in parts], views)}
    for k, part in enumerate(parts):
        arrays |= {f"vertices_{k}": part.vertices, f"normals_{k}": part.normals, f"faces_{k}": part.faces}
        arrays[f"uv_{k}"] = _painted(part, mj_model, pictures, folder / f"{k}.png")
    np.savez(folder / "scene.npz", **arrays)
    lights, center = lights_of(scene, look, mj_model.stat.center), mj_model.stat.center
    ambient = sum((light.ambient + light.headlight * light.diffuse for light in lights), np.zeros(3))
    sky = {"light": [*(SKY * ambient), 1.0], "seen": [*(BACKDROP * mj_model.vis.rgba.haze[:3] ** 2.2).tolist(), 1.0]}
    near, far = (float(plane) * mj_model.stat.extent for plane in (mj_model.vis.map.znear, mj_model.vis.map.zfar))
    cycles = {"samples": paths, "use_denoising": True, "use_adaptive_sampling": False, "max_bounces": 4}
    render = {"engine": "CYCLES", "resolution_x": size[0], "resolution_y": size[1], "use_persistent_data": True}
    job = {
        "settings": {"render": render, "cycles": cycles, "view_settings": VIEW},
        "sky": {**sky, "center": center.tolist(), "fade_m": FADE_M},
        "parts": [_surface(part, f"{k}.png") for k, part in enumerate(parts)],
        "lights": [_sun(light, center) for light in lights if not light.headlight],
        "cameras": [_lens(intrinsics(mj_model, view, *size), near, far) for view in views],
    }
    (folder / "job.json").write_text(json.dumps(job))


def _stands(model: Any, data: Any, qpos: Array, geoms: list[int], views: list[int]) -> Array:
    found = np.tile(np.eye(4), (len(qpos), len(geoms) + len(views), 1, 1))
    for t, row in enumerate(qpos):
        place(model, data, row)
        found[t, :, :3, :3] = np.concatenate([data.geom_xmat[geoms], data.cam_xmat[views]]).reshape(-1, 3, 3)
        found[t, :, :3, 3] = np.concatenate([data.geom_xpos[geoms], data.cam_xpos[views]])
    return found


def _lens(camera: Camera, near: float, far: float) -> dict[str, Any]:
    """A film 36 mm wide; where fx and fy differ, its pixels are not square. Blender's y points up."""
    squeeze, width = camera.fx / camera.fy, camera.width
    lens = {"sensor_fit": "HORIZONTAL", "sensor_width": 36.0, "lens": camera.fx * 36.0 / width}
    lens |= {"shift_x": ((width - 1) / 2 - camera.cx) / width, "clip_start": near, "clip_end": far}
    lens["shift_y"] = (camera.cy - (camera.height - 1) / 2) / width * squeeze
    pixels = {"pixel_aspect_x": max(1.0, 1 / squeeze), "pixel_aspect_y": max(1.0, squeeze)}
    return {"lens": lens, "render": pixels}


def _surface(part: Part, texture: str) -> dict[str, Any]:
    """Phong's exponent n as roughness: the root of alpha = sqrt(2 / (n + 2)), Walter et al. 2007."""
    gloss = {"Roughness": (2 / (part.shininess + 2)) ** 0.25, "Specular IOR Level": part.specular}
    rgba = [*(part.rgb.astype(float) ** 2.2).tolist(), 1.0]  # Blender's colours are linear
    gloss |= {"Base Color": rgba, "Emission Color": rgba, "Emission Strength": part.emission}
    texture = texture if part.uv is not None else ""
    return {"surface": gloss, "texture": texture, "endless": part.endless}


def _sun(light: Light, center: Array) -> dict[str, Any]:
    """A lamp as a sun that shines along it, or from where it stands to the scene's centre."""
    back = -light.direction if light.directional else light.position - center
    return {"back": back.tolist(), "values": {"color": light.diffuse.tolist(), "energy": SUN, "angle": SOFT_SUN}}


def _painted(part: Part, model: Any, pictures: Mapping[int, Any], file: Path) -> NDArray[np.float32]:
    """Write the part's tinted texture; returns (V, 2) places in it from its lower left corner.

    A cube's six sides lie below each other.
    """
    if part.uv is None:
        return np.zeros((len(part.vertices), 2), np.float32)
    k, sides = part.texture, 1
    if k in pictures:
        picture = pictures[k]
    else:
        height, width, channels = int(model.tex_height[k]), int(model.tex_width[k]), int(model.tex_nchannel[k])
        picture = model.tex_data[model.tex_adr[k] :][: height * width * channels].reshape(height, width, channels)
        sides = 1 if model.tex_type[k] == mujoco.mjtTexture.mjTEXTURE_2D else height // width
    images.write_color(file, np.rint(np.clip(picture[..., :3] * part.rgb, 0, 255)).astype(np.uint8))
    v = part.uv[:, 1] + (part.uv[:, 2] if sides > 1 else 0)
    return np.column_stack([part.uv[:, 0], 1 - v / sides]).astype(np.float32)
