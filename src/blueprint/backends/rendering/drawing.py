"""The pictures of the raster renderer: what is drawn when, see `renderer_raster`. Lives in one process and thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Images
from blueprint.backends.renderer_mujoco import gl_context, mujoco
from blueprint.backends.rendering import gl as render_gl
from blueprint.backends.rendering import shaders as render_shaders
from blueprint.backends.rendering.geometry import Caster, Part
from blueprint.backends.rendering.gl import Program, Target, Triangles
from blueprint.backends.rendering.look import Light
from blueprint.backends.rendering.views import (
    SHADOW_MAP,
    TILE,
    Backdrop,
    Box,
    Frame,
    Lens,
    Motion,
    Shadow,
    Squares,
    View,
)

Array = NDArray[np.float64]

CASTERS = 0  # the first set of triangles; the views' follow


@contextmanager
def drawing(
    model: Any,
    motion: Motion,
    lights: tuple[Light, ...],
    casters: tuple[Caster, ...],
    pictures: dict[int, NDArray[np.uint8]],
    samples: tuple[int, ...],
) -> Iterator[Drawing]:
    """Open a graphics context for a motion. Raises BackendError without EGL."""
    context = gl_context(64, 64)
    context.make_current()
    try:
        render_gl.prepare()
        yield Drawing(model, motion, lights, casters, pictures, samples)
    finally:
        context.free()


class Drawing:
    """All that OpenGL holds for one motion. samples: per pixel along each axis, of each kind of picture wanted."""

    def __init__(
        self,
        model: Any,
        motion: Motion,
        lights: tuple[Light, ...],
        casters: tuple[Caster, ...],
        pictures: dict[int, NDArray[np.uint8]],
        samples: tuple[int, ...],
    ) -> None:
        self._motion, self._lights = motion, lights
        self._still_places = np.array(
            [[*(-light.direction if light.directional else light.position), not light.directional] for light in lights]
        ).reshape(-1, 4)
        self._near, self._far = (
            float(bound) * model.stat.extent for bound in (model.vis.map.znear, model.vis.map.zfar)
        )
        arrays, layers = _load_pictures(model, motion.parts, pictures)
        self._samplers = render_gl.picture_samplers()
        self._sky = _load_sky(model)
        self._views = [View.of(motion, c) for c in range(len(motion.cameras))]
        thin: list[Triangles] = [(caster.vertices, caster.faces) for caster in casters]
        self._meshes = render_gl.Meshes(motion.parts, layers, [thin, *(view.faces for view in self._views)])
        self._arrays = np.array([0 if part.uv is None else arrays[part.texture] for part in motion.parts])
        self._endless = np.array([part.endless for part in motion.parts])
        self._shadow = Shadow.of(model, lights)
        self._shadow_map = render_gl.shadow_map(SHADOW_MAP)
        self._still_shadows = Target(SHADOW_MAP, SHADOW_MAP, colors=0, depth_bits=16)
        self._solid = np.array([caster.solid for caster in casters])
        casting, still = np.array([len(caster.faces) > 0 for caster in casters]), motion.still()
        self._still_casters, self._moving_casters = (np.flatnonzero(casting & who) for who in (still, ~still))
        self._haze, self._ground = _haze(model, motion.parts, 0.7 * self._far)
        self._backdrop = Backdrop.of(motion, self._near, self._far)
        self._surfaces = {textured: self._surface(textured) for textured in (False, True)}
        self._cast = Program(render_shaders.cast())
        self._darken = Program(
            render_shaders.darken(), dark=render_gl.DARK, depths=render_gl.DEPTHS, shadows=render_gl.SHADOWS
        )
        self._skies = Program(render_shaders.sky(), sky=render_gl.SKY)
        self._skies.set(haze=self._haze[0], haze_m=self._haze[1])
        camera = motion.cameras[0]
        self._targets = {n: Target(n * camera.width, n * camera.height, colors=1) for n in samples}
        self._lenses = {
            (c, n): Lens.of(camera, n, self._near, self._far)
            for c, camera in enumerate(motion.cameras)
            for n in samples
        }
        self._backs: dict[tuple[int, int], tuple[Target, Target, Squares | None]] = {}
        self._begun = False

    def begin(self, t: int) -> None:
        """Take the poses of state t, and cast its shadows."""
        self._meshes.place(self._motion.poses[t])
        if not self._begun:
            self._still_shadows.begin()
            self._cast_shadows(self._still_casters)
        if len(self._moving_casters) or not self._begun:
            self._cast_all_shadows()
        self._begun = True

    def color(self, c: int, t: int, samples: int) -> NDArray[np.uint8]:
        """(H, W, 3) of camera c in state t, averaged."""
        import cv2

        color: Any = cv2.cvtColor(self._draw(c, t, samples).read_color(), cv2.COLOR_RGBA2RGB)
        camera = self._motion.cameras[c]
        return color if samples == 1 else cv2.resize(color, (camera.width, camera.height), interpolation=cv2.INTER_AREA)

    def images(self, c: int, t: int) -> Images:
        """Colour, depth and labels of camera c in state t, one sample per pixel."""
        import cv2

        target = self._draw(c, t, 1)
        pixels = target.read_color()
        labels = cv2.extractChannel(pixels, 3).astype(np.uint16)
        color: Any = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
        return Images(color, self._metres(target.read_depth()), labels)

    def _metres(self, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth along the optical axis from the reversed depth buffer d (far = 0): z = n f / (n + d (f - n)).

        Pixels at the far plane (nothing there) become 0.
        """
        z = buffer + np.float32(self._near / (self._far - self._near))
        np.divide(np.float32(self._near * self._far / (self._far - self._near)), z, out=z)
        if buffer.min() <= 0:
            z[buffer <= 0] = 0.0
        return z

    # -------------------------------------------------------------- one picture

    def _cast_all_shadows(self) -> None:
        self._shadow_map.copy(self._still_shadows)
        self._shadow_map.begin(clear=False)
        self._cast_shadows(self._moving_casters)

    def _cast_shadows(self, parts: NDArray[np.int64]) -> None:
        if self._shadow is None or not len(parts):
            return
        GL = render_gl.gl()
        GL.glViewport(1, 1, SHADOW_MAP - 2, SHADOW_MAP - 2)
        self._cast.set(project=self._shadow.project)
        GL.glEnable(GL.GL_POLYGON_OFFSET_FILL)
        GL.glCullFace(GL.GL_FRONT)
        GL.glPolygonOffset(0.0, -4.0)
        self._meshes.draw(parts[self._solid[parts]], CASTERS)
        GL.glCullFace(GL.GL_BACK)
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glPolygonOffset(-1.5, -4.0)  # as MuJoCo's renderer does
        self._meshes.draw(parts[~self._solid[parts]], CASTERS)
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glDisable(GL.GL_POLYGON_OFFSET_FILL)

    def _draw(self, c: int, t: int, samples: int) -> Target:
        view, target = self._views[c], self._targets[samples]
        frame = view.frame(t, self._lenses[c, samples])
        ground = sky = (0, 0, target.width, target.height)
        if view.background is None:
            ground, sky = self._backdrop.seen(frame, self._motion.poses[t], target.width, target.height)
            target.begin()
        else:
            if (c, samples) not in self._backs:
                self._backs[c, samples] = self._background(c, view.background, frame, target)
            dark, whole, squares = self._backs[c, samples]
            target.begin(clear=False)
            target.copy(whole)
            if self._shadow is not None and squares is not None:
                tiles = squares.shaded(self._motion.poses[t], self._moving_casters, self._shadow)
                self._darken_squares(dark, frame, self._shadow, tiles)
        self._draw_parts(c, view.order(t), frame, ground)
        if view.background is None:
            self._draw_sky(frame, sky)
        return target

    def _background(
        self, c: int, parts: NDArray[np.int64], frame: Frame, like: Target
    ) -> tuple[Target, Target, Squares | None]:
        """What stands still before a fixed camera: all of it in the shadow, and as it is when nothing else is there."""
        dark, whole = (Target(like.width, like.height, colors=1) for _ in range(2))
        self._shadow_map.fill(1.0)
        for target in (dark, whole):
            target.begin()
            self._draw_parts(c, parts, frame, (0, 0, like.width, like.height))
            self._draw_sky(frame, (0, 0, like.width, like.height))
            self._shadow_map.copy(self._still_shadows)
        self._cast_all_shadows()
        if self._shadow is None:
            return dark, whole, None
        whole.begin(clear=False)
        return dark, whole, Squares.of(whole.read_depth(), frame, self._shadow, self._motion.parts)

    def _darken_squares(self, dark: Target, frame: Frame, shadow: Shadow, tiles: NDArray[np.float32]) -> None:
        """Put what the shadow map of now covers into the shadow, in these squares of the picture."""
        if not len(tiles):
            return
        GL = render_gl.gl()
        render_gl.bind(render_gl.DARK, dark.colors[0])
        render_gl.bind(render_gl.DEPTHS, dark.depth)
        GL.glDisable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)
        square = np.array([2 * TILE / dark.width, 2 * TILE / dark.height])
        self._darken.set(shadow=shadow.sample @ frame.world, square=square)
        self._meshes.tiles(tiles)
        GL.glDrawArraysInstanced(GL.GL_TRIANGLE_STRIP, 0, 4, len(tiles))
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glEnable(GL.GL_DEPTH_TEST)

    def _draw_parts(self, c: int, parts: NDArray[np.int64], frame: Frame, where: Box) -> None:
        """where: the endless plane may be seen."""
        self._meshes.see(np.vstack([frame.project, [*frame.eye, 1.0], self._places(frame)]))
        # a camera on the robot is near: it seldom sees more than one texel in a pixel
        render_gl.read_pictures_by(self._samplers[self._motion.mounted[c]])
        for last in (False, True):  # all hide the ground
            chosen, box = parts[self._endless[parts] == last], where if last else None
            if not len(chosen) or (box is not None and not box[2]):
                continue
            arrays = self._arrays[chosen]
            with render_gl.within(box):
                for run in np.split(chosen, np.flatnonzero(arrays[1:] != arrays[:-1]) + 1):  # near ones first
                    array = int(self._arrays[run[0]])
                    self._surfaces[array > 0].use()
                    if array:
                        render_gl.bind_pictures(array)
                    self._meshes.draw(run, 1 + c)

    def _draw_sky(self, frame: Frame, where: Box) -> None:
        if self._sky and where[2]:
            GL = render_gl.gl()
            GL.glDisable(GL.GL_CULL_FACE)
            self._skies.set(direction=frame.direction, up=np.array([self._height(frame), 0, 0]))
            with render_gl.within(where):
                GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)
            GL.glEnable(GL.GL_CULL_FACE)

    # -------------------------------------------------------------- light

    def _surface(self, textured: bool) -> Program:
        lights = self._lights
        sources = render_shaders.surface(
            textured,
            lights=len(lights),
            key=-1 if self._shadow is None else self._shadow.key,
            spots=any(not light.directional for light in lights),
        )
        program = Program(sources, pictures=render_gl.PICTURES, shadows=render_gl.SHADOWS)
        program.set(
            shadow=np.eye(4) if self._shadow is None else self._shadow.sample,
            haze=self._haze[0],
            haze_m=self._haze[1],
        )
        program.set_arrays(
            aim=[[*light.direction, np.cos(np.deg2rad(light.cutoff))] for light in lights],
            fade=[[*light.attenuation, light.exponent] for light in lights],
            ambient=[light.ambient for light in lights],
            diffuse=[light.diffuse for light in lights],
            specular=[light.specular for light in lights],
        )
        return program

    def _height(self, frame: Frame) -> float:
        """Of the eye above the first endless plane, as a share of the sky's radius; 0 without haze."""
        return 0.0 if self._ground is None else float(max(frame.eye[2] - self._ground, 0.0) / self._haze[1][0])

    def _places(self, frame: Frame) -> Array:
        """(L, 4) towards a light that is far off, or where it stands; the headlight shines where the camera looks."""
        rows = self._still_places.copy()
        for k, light in enumerate(self._lights):
            if light.headlight:
                rows[k, :3] = -frame.forward if light.directional else frame.eye
        return rows


def _haze(model: Any, parts: tuple[Part, ...], sky_m: float) -> tuple[tuple[Array, Array], float | None]:
    """Colour, (radius of the sky [m], share that is hazy, where it is thickest), and z of the endless plane below.

    The thickest place is that of MuJoCo's cone (render_context.c, haze).
    """
    share = float(model.vis.map.haze)
    steep = np.arctan2(1.0, share)
    thick = np.sqrt(0.5) * share * np.sin(steep) / np.sin(0.75 * np.pi - steep)
    ground = next((float(model.geom_pos[part.geom, 2]) for part in parts if part.endless), None)
    return (np.array(model.vis.rgba.haze[:3], float), np.array([sky_m, share, max(thick, 1e-6)])), ground


def _load_pictures(
    model: Any, parts: tuple[Part, ...], pictures: dict[int, NDArray[np.uint8]]
) -> tuple[dict[int, int], dict[int, int]]:
    """Give the textures in use to OpenGL; returns the array of each, and its first layer there."""
    numbers = sorted({part.texture for part in parts if part.uv is not None})
    found = [[pictures[number]] if number in pictures else _sides(model, number) for number in numbers]
    places = render_gl.picture_layers([side for sides in found for side in sides])
    firsts = np.cumsum([0, *(len(sides) for sides in found)])
    placed = {number: places[first] for number, first in zip(numbers, firsts[:-1], strict=True)}
    return {number: array for number, (array, _) in placed.items()}, {number: at for number, (_, at) in placed.items()}


def _sides(model: Any, texture: int) -> list[NDArray[np.uint8]]:
    """The picture of a texture, or the six of a cube."""
    start, height, width, channels = (
        int(table[texture]) for table in (model.tex_adr, model.tex_height, model.tex_width, model.tex_nchannel)
    )
    picture = model.tex_data[start : start + height * width * channels].reshape(height, width, channels)[..., :3]
    if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D:
        return [picture]
    return [picture] * 6 if height == width else list(picture.reshape(6, width, width, 3))


def _load_sky(model: Any) -> bool:
    """Give the first skybox to OpenGL; returns whether there is one."""
    skies = np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)
    if len(skies):
        render_gl.sky_cube(_sides(model, int(skies[0])))
    return len(skies) > 0
