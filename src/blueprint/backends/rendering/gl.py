"""OpenGL for the raster renderer: programs, buffers and pictures in memory. All lives in one process and thread."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.rendering import shaders as render_shaders
from blueprint.backends.rendering.geometry import Part
from blueprint.core.errors import BackendError

Array = NDArray[np.float32]
Triangles = tuple[Array | None, NDArray[np.int32]]  # vertices (None = those of the part) and faces

TEXTURE_SIZE = 1024  # pixels per side at most: all pictures of a scene are layers of one size
PICTURES, SHADOWS, DARK, DEPTHS, SKY, SCRATCH = range(6)  # texture units


@cache
def gl() -> Any:
    """PyOpenGL; importable only where its drivers are. Errors are asked for once a picture (`check`), not every call.

    PyOpenGL needs to know between the import of its EGL and that of its GL.
    """
    import_module("OpenGL.EGL")
    flags: Any = import_module("OpenGL._configflags")
    flags.ERROR_CHECKING = False
    return import_module("OpenGL.GL")


def check() -> None:
    """Raises BackendError when OpenGL refused a call since the last check."""
    code = gl().glGetError()
    if code:
        raise BackendError(f"OpenGL error 0x{int(code):04x} while drawing", "report this; set run.renderer = mujoco")


class Program:
    """A linked pair of shaders and its uniforms."""

    def __init__(self, sources: tuple[str, str], **units: int) -> None:
        GL = gl()
        self.id = GL.glCreateProgram()
        for kind, source in zip((GL.GL_VERTEX_SHADER, GL.GL_FRAGMENT_SHADER), sources, strict=True):
            shader = GL.glCreateShader(kind)
            GL.glShaderSource(shader, source)
            GL.glCompileShader(shader)
            if not GL.glGetShaderiv(shader, GL.GL_COMPILE_STATUS):
                raise BackendError(f"a shader does not compile: {GL.glGetShaderInfoLog(shader)}", "it needs OpenGL 4.5")
            GL.glAttachShader(self.id, shader)
        GL.glLinkProgram(self.id)
        if not GL.glGetProgramiv(self.id, GL.GL_LINK_STATUS):
            raise BackendError(f"shaders do not link: {GL.glGetProgramInfoLog(self.id)}", "it needs OpenGL 4.5")
        self._places: dict[str, int] = {}
        self.set(**units)

    def use(self) -> None:
        gl().glUseProgram(self.id)

    def set(self, **values: Any) -> None:
        """int; float (2,), (3,), (3, 3), (4, 4). What the shaders do not use is skipped."""
        GL = gl()
        GL.glUseProgram(self.id)
        for name, value in values.items():
            place = self._place(name)
            if place < 0:
                continue
            if isinstance(value, int):
                GL.glUniform1i(place, value)
            else:
                shape = np.shape(value)
                call = {
                    (2,): GL.glUniform2fv,
                    (3,): GL.glUniform3fv,
                    (3, 3): GL.glUniformMatrix3fv,
                    (4, 4): GL.glUniformMatrix4fv,
                }[shape]
                call(place, 1, *([True] if len(shape) == 2 else []), np.ascontiguousarray(value, np.float32))

    def set_arrays(self, **values: Any) -> None:
        """(N, 3) or (N, 4) float."""
        GL = gl()
        GL.glUseProgram(self.id)
        for name, rows in values.items():
            place, value = self._place(name), np.ascontiguousarray(rows, np.float32)
            if place >= 0 and value.size:
                (GL.glUniform3fv if value.shape[1] == 3 else GL.glUniform4fv)(place, len(value), value)

    def _place(self, name: str) -> int:
        if name not in self._places:
            self._places[name] = gl().glGetUniformLocation(self.id, name)
        return self._places[name]


class Meshes:
    """All triangles of a scene in one buffer, and the pose of every part in another."""

    def __init__(self, parts: tuple[Part, ...], layers: dict[int, int], sets: list[list[Triangles]]) -> None:
        """layers: texture -> its first layer. sets: of what to draw of each part, see `draw`.

        Triangles with vertices of their own have no normals: they are good for depth only.
        """
        GL = gl()
        plain = [(k, part.vertices, part.normals, part.uv) for k, part in enumerate(parts)]
        first = np.cumsum([0, *(len(part.vertices) for part in parts)])
        count, faces = int(first[-1]), []
        for some in sets:
            for k, (vertices, triangles) in enumerate(some):
                if vertices is None:
                    faces.append(triangles + first[k])
                else:
                    plain.append((k, vertices, np.zeros_like(vertices), None))
                    faces.append(triangles + count)
                    count += len(vertices)
        rows = np.zeros(count, [("position", "3f4"), ("normal", "3f4"), ("texcoord", "3f4"), ("geom", "i4")])
        start = 0
        for k, vertices, normals, uv in plain:
            piece = rows[start : start + len(vertices)]
            start += len(vertices)
            piece["position"], piece["normal"], piece["geom"] = vertices, normals, k
            if uv is not None:
                piece["texcoord"] = uv + np.array([0, 0, layers[parts[k].texture]], np.float32)
        lengths = np.array([triangles.size for triangles in faces], np.int32).reshape(len(sets), len(parts))
        starts = (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape)
        self._ranges = [(4 * start, length) for start, length in zip(starts, lengths, strict=True)]
        indices = np.concatenate(faces).astype(np.uint32)
        self._array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._array)
        vertex, index, self._poses, materials, self._frame, self._tiles = GL.glGenBuffers(6)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, vertex)
        GL.glBufferData(GL.GL_ARRAY_BUFFER, rows.nbytes, rows, GL.GL_STATIC_DRAW)
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, index)
        GL.glBufferData(GL.GL_ELEMENT_ARRAY_BUFFER, indices.nbytes, indices, GL.GL_STATIC_DRAW)
        for place in range(3):
            GL.glVertexAttribPointer(place, 3, GL.GL_FLOAT, False, rows.itemsize, ctypes.c_void_p(12 * place))
        GL.glVertexAttribIPointer(3, 1, GL.GL_INT, rows.itemsize, ctypes.c_void_p(36))
        for place in range(4):
            GL.glEnableVertexAttribArray(place)
        table = np.array(
            [[*p.rgb, p.emission, p.specular, p.shininess, p.body / 255, p.endless] for p in parts], np.float32
        )
        most = render_shaders.PARTS
        blocks = ((self._poses, 3 * most), (materials, 2 * most), (self._frame, 5 + render_shaders.LIGHTS))
        for slot, (buffer, rows) in enumerate(blocks):
            GL.glBindBuffer(GL.GL_UNIFORM_BUFFER, buffer)
            GL.glBufferData(GL.GL_UNIFORM_BUFFER, 16 * rows, None, GL.GL_DYNAMIC_DRAW)
            GL.glBindBufferBase(GL.GL_UNIFORM_BUFFER, slot, buffer)
        _fill(materials, table)

    def place(self, poses: Array) -> None:
        """poses: (parts, 3, 4) [R | t], geom -> world."""
        _fill(self._poses, poses)

    def see(self, frame: Array) -> None:
        """frame: (5 + lights, 4) world -> clip; the eye, 1; where each light is, see `render_shaders`."""
        _fill(self._frame, frame)

    def tiles(self, corners: Array) -> None:
        """corners: (N, 2) of the squares that `render_shaders.darken` fills."""
        GL = gl()
        GL.glBindBuffer(GL.GL_SHADER_STORAGE_BUFFER, self._tiles)
        rows = np.ascontiguousarray(corners)
        GL.glBufferData(GL.GL_SHADER_STORAGE_BUFFER, rows.nbytes, rows, GL.GL_STREAM_DRAW)
        GL.glBindBufferBase(GL.GL_SHADER_STORAGE_BUFFER, 2, self._tiles)

    def draw(self, parts: NDArray[np.int64], which: int) -> None:
        """What the `which`th set has of these parts, in this order."""
        GL = gl()
        starts, lengths = self._ranges[which]
        parts = parts[lengths[parts] > 0]  # Mesa draws nothing at all when the first has no triangle
        if len(parts):
            pointers = (ctypes.c_void_p * len(parts))(*starts[parts].tolist())
            GL.glMultiDrawElements(GL.GL_TRIANGLES, lengths[parts], GL.GL_UNSIGNED_INT, pointers, len(parts))


class Target:
    """A framebuffer of `colors` RGBA pictures and a depth map, all of them textures."""

    def __init__(self, width: int, height: int, colors: int, depth_bits: int = 32) -> None:
        GL = gl()
        self.width, self.height = width, height
        self._frame = GL.glGenFramebuffers(1)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)
        self.colors = []
        for k in range(colors):
            self.colors.append(_texture(GL.GL_RGBA8, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE))
            GL.glFramebufferTexture2D(
                GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0 + k, GL.GL_TEXTURE_2D, self.colors[k], 0
            )
        kind = GL.GL_DEPTH_COMPONENT32F if depth_bits == 32 else GL.GL_DEPTH_COMPONENT16
        self.depth = _texture(kind, width, height, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT)
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, GL.GL_TEXTURE_2D, self.depth, 0)
        buffers = [GL.GL_COLOR_ATTACHMENT0 + k for k in range(colors)] or [GL.GL_NONE]
        GL.glDrawBuffers(len(buffers), buffers)
        self._color_out = np.empty((height, width, 4), np.uint8)
        self._depth_out = np.empty((height, width), np.float32)

    def begin(self, clear: bool = True) -> None:
        GL = gl()
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)
        GL.glViewport(0, 0, self.width, self.height)
        if clear:
            GL.glClear(GL.GL_COLOR_BUFFER_BIT | GL.GL_DEPTH_BUFFER_BIT)

    def fill(self, depth: float) -> None:
        GL = gl()
        self.begin(clear=False)
        GL.glClearBufferfv(GL.GL_DEPTH, 0, [depth])

    def read_color(self) -> NDArray[np.uint8]:
        """(H, W, 4), overwritten by the next reading."""
        GL = gl()
        GL.glReadPixels(0, 0, self.width, self.height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, self._color_out)
        check()
        return self._color_out

    def read_depth(self) -> Array:
        """(H, W) of the depth buffer, overwritten by the next reading."""
        GL = gl()
        GL.glReadPixels(0, 0, self.width, self.height, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, self._depth_out)
        return self._depth_out

    def copy(self, source: Target) -> None:
        """Take over colour and depth."""
        GL = gl()
        kind, size = GL.GL_TEXTURE_2D, (self.width, self.height, 1)
        pairs = zip((*self.colors, self.depth), (*source.colors, source.depth), strict=True)
        for ours, theirs in pairs:
            GL.glCopyImageSubData(theirs, kind, 0, 0, 0, 0, ours, kind, 0, 0, 0, 0, *size)


@contextmanager
def within(box: tuple[int, int, int, int] | None) -> Iterator[None]:
    """Draw only there: column and row of a corner, width, height [pixels]; None = everywhere."""
    GL = gl()
    if box is not None:
        GL.glEnable(GL.GL_SCISSOR_TEST)
        GL.glScissor(*box)
    yield
    if box is not None:
        GL.glDisable(GL.GL_SCISSOR_TEST)


def prepare() -> None:
    """State that never changes: depth from 1 (near) to 0 (far) as in MuJoCo, the first row of a picture on top."""
    GL = gl()
    GL.glClipControl(GL.GL_UPPER_LEFT, GL.GL_ZERO_TO_ONE)
    GL.glEnable(GL.GL_DEPTH_TEST)
    GL.glDepthFunc(GL.GL_GEQUAL)
    GL.glClearDepth(0.0)
    GL.glClearColor(0.0, 0.0, 0.0, 0.0)
    GL.glEnable(GL.GL_CULL_FACE)
    GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)


def shadow_map(size: int) -> Target:
    target = Target(size, size, colors=0, depth_bits=16)
    GL = gl()
    bind(SHADOWS, target.depth)
    GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_COMPARE_MODE, GL.GL_COMPARE_REF_TO_TEXTURE)
    GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_COMPARE_FUNC, GL.GL_GEQUAL)
    return target


def bind(unit: int, texture: int) -> None:
    GL = gl()
    GL.glActiveTexture(GL.GL_TEXTURE0 + unit)
    GL.glBindTexture(GL.GL_TEXTURE_2D, texture)


def picture_layers(pictures: list[NDArray[np.uint8]]) -> list[tuple[int, int]]:
    """Give (H, W, 3) pictures to OpenGL as layers of texture arrays with mip maps: which array each is in, and where.

    Each is resized to the nearest powers of two. Those of one size share an array, so that small ones stay small: most
    of what a textured pixel costs is waiting for its texels.
    """
    import cv2

    GL, kind = gl(), gl().GL_TEXTURE_2D_ARRAY
    layers: dict[tuple[int, int], list[Any]] = {}
    places: list[tuple[tuple[int, int], int]] = []
    for picture in pictures:
        height, width = (min(TEXTURE_SIZE, 1 << round(np.log2(side))) for side in picture.shape[:2])
        smaller = width * height < picture.shape[0] * picture.shape[1]
        resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        same = layers.setdefault((width, height), [])
        places.append(((width, height), len(same)))
        same.append(cv2.cvtColor(resized, cv2.COLOR_RGB2RGBA))
    arrays = {size: int(GL.glGenTextures(1)) for size in layers}
    GL.glActiveTexture(GL.GL_TEXTURE0 + PICTURES)
    for (width, height), some in layers.items():
        GL.glBindTexture(kind, arrays[width, height])
        data = np.ascontiguousarray(some)
        GL.glTexImage3D(kind, 0, GL.GL_RGBA8, width, height, len(data), 0, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, data)
        GL.glGenerateMipmap(kind)
    return [(arrays[size], layer) for size, layer in places]


def bind_pictures(array: int) -> None:
    """Draw with the pictures of this array, see `picture_layers`."""
    GL = gl()
    GL.glActiveTexture(GL.GL_TEXTURE0 + PICTURES)
    GL.glBindTexture(GL.GL_TEXTURE_2D_ARRAY, array)


def picture_samplers() -> tuple[int, int]:
    """Ways to read pictures: from the nearer of two sizes, half the cost of MuJoCo's blend of both; or as they are."""
    GL = gl()
    samplers = tuple(int(one) for one in GL.glGenSamplers(2))
    for sampler, way in zip(samplers, (GL.GL_LINEAR_MIPMAP_NEAREST, GL.GL_LINEAR), strict=True):
        GL.glSamplerParameteri(sampler, GL.GL_TEXTURE_MIN_FILTER, way)
    return samplers[0], samplers[1]


def read_pictures_by(sampler: int) -> None:
    gl().glBindSampler(PICTURES, sampler)


def sky_cube(faces: list[NDArray[np.uint8]]) -> None:
    """Bind the six (N, N, 3) sides of the sky."""
    GL = gl()
    GL.glActiveTexture(GL.GL_TEXTURE0 + SKY)
    GL.glBindTexture(GL.GL_TEXTURE_CUBE_MAP, GL.glGenTextures(1))
    size = len(faces[0])
    for k, face in enumerate(faces):
        side = GL.GL_TEXTURE_CUBE_MAP_POSITIVE_X + k
        GL.glTexImage2D(side, 0, GL.GL_RGB, size, size, 0, GL.GL_RGB, GL.GL_UNSIGNED_BYTE, np.ascontiguousarray(face))
    for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
        GL.glTexParameteri(GL.GL_TEXTURE_CUBE_MAP, name, GL.GL_LINEAR)
    for name in (GL.GL_TEXTURE_WRAP_S, GL.GL_TEXTURE_WRAP_T, GL.GL_TEXTURE_WRAP_R):
        GL.glTexParameteri(GL.GL_TEXTURE_CUBE_MAP, name, GL.GL_CLAMP_TO_EDGE)


def _fill(block: int, rows: Array) -> None:
    GL, rows = gl(), np.ascontiguousarray(rows, np.float32)
    GL.glBindBuffer(GL.GL_UNIFORM_BUFFER, block)
    GL.glBufferSubData(GL.GL_UNIFORM_BUFFER, 0, rows.nbytes, rows)


def _texture(kind: int, width: int, height: int, channels: int, number: int) -> int:
    GL = gl()
    texture = int(GL.glGenTextures(1))
    bind(SCRATCH, texture)
    GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, kind, width, height, 0, channels, number, None)
    for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_NEAREST)
    for name in (GL.GL_TEXTURE_WRAP_S, GL.GL_TEXTURE_WRAP_T):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_CLAMP_TO_EDGE)
    return texture
