"""A `Look` put on a MuJoCo model: lamps, tints, camera shifts, and procedural textures drawn from its seed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.backends.rendering.geometry import Part, box_mapped
from blueprint.core.errors import InputError
from blueprint.model.variation import Lamp, Look

Array = NDArray[np.float64]

mujoco: Any = import_module("mujoco")  # Any: its C extension has no stubs

# MuJoCo's camera frame: x right, y up, looking along -z; ours (OpenCV): x right, y down, looking along +z
GL_FROM_CV = np.diag([1.0, -1.0, -1.0])
WORLD = ("world", "table")  # bodies that a look means by `world`
LAMP_M = 2.5  # from where a directional lamp's shadows are drawn
SPOT_DEG = 75.0  # half angle of a point lamp that casts shadows: MuJoCo's shadow map is one picture
NO_GRAY = 1e-4  # added where a colour would be MuJoCo's sign for "take the material's"
PICTURE = 256  # pixels per side of a texture
TILE_M = {"wood": 0.6, "marble": 0.5, "cloth": 0.02, "checker": 0.12, "speckle": 0.25, "plain": 1.0}


@dataclass(frozen=True)
class Light:
    """One light as OpenGL's fixed pipeline has it. direction: where it shines; cutoff [deg], 180 = all around."""

    directional: bool
    position: Array
    direction: Array
    cutoff: float
    exponent: float
    attenuation: Array
    ambient: Array
    diffuse: Array
    specular: Array
    castshadow: bool
    headlight: bool

    @classmethod
    def of(cls, light: Any) -> Light:
        """From an mjvLight."""
        return cls(
            directional=light.type == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            position=np.array(light.pos, float),
            direction=np.array(light.dir, float),
            cutoff=float(light.cutoff),
            exponent=float(light.exponent),
            attenuation=np.array(light.attenuation, float),
            ambient=np.array(light.ambient, float),
            diffuse=np.array(light.diffuse, float),
            specular=np.array(light.specular, float),
            castshadow=bool(light.castshadow),
            headlight=bool(light.headlight),
        )

    def write(self, light: Any) -> None:
        """Into an mjvLight."""
        kinds = mujoco.mjtLightType
        light.type = int(kinds.mjLIGHT_DIRECTIONAL if self.directional else kinds.mjLIGHT_SPOT)
        light.pos[:], light.dir[:], light.attenuation[:] = self.position, self.direction, self.attenuation
        light.ambient[:], light.diffuse[:], light.specular[:] = self.ambient, self.diffuse, self.specular
        light.cutoff, light.exponent = self.cutoff, self.exponent
        light.castshadow, light.headlight = int(self.castshadow), int(self.headlight)


def lights_of(scene: Any, look: Look | None, center: Array) -> tuple[Light, ...]:
    """The lights of an updated mjvScene as the look wants them; only the first shadow is kept. center: of the scene."""
    lights = tuple(Light.of(light) for light in scene.lights[: scene.nlight])
    if look is not None:
        lights = tuple(replace(light, ambient=look.ambient * light.ambient) for light in lights)
        if look.lamps:
            key = next((light for light in lights if light.castshadow), None)
            unit, gloss = (key.diffuse, key.specular) if key is not None else (np.full(3, 0.4), np.full(3, 0.15))
            lamps = tuple(_lamp(lamp, unit, gloss, center) for lamp in look.lamps)
            lights = (*(light for light in lights if light.headlight), *lamps)
    first = next((k for k, light in enumerate(lights) if light.castshadow), -1)
    return tuple(replace(light, castshadow=k == first) for k, light in enumerate(lights))


def _lamp(lamp: Lamp, unit: Array, gloss: Array, center: Array) -> Light:
    color, directional = np.array(lamp.color), lamp.kind == "directional"
    direction = np.array(lamp.direction) if directional else center - np.array(lamp.position)
    direction = direction / np.linalg.norm(direction)
    return Light(
        directional=directional,
        position=center - LAMP_M * direction if directional else np.array(lamp.position),
        direction=direction,
        cutoff=SPOT_DEG if lamp.shadow else 180.0,
        exponent=0.0,
        attenuation=np.array([1.0, 0.0, 0.0]),
        ambient=np.zeros(3),
        diffuse=color * unit,
        specular=color * gloss,
        castshadow=lamp.shadow,
        headlight=False,
    )


def dressed(model: Any, look: Look | None) -> Any:
    """A model with the look's tints and camera shifts. Raises InputError for a body or camera that it does not have."""
    if look is None or not (look.tints or look.cameras):
        return model
    model = copy.copy(model)
    for name, tint in look.tints.items():
        for body in bodies_named(model, name):
            for geom in np.flatnonzero(model.geom_bodyid == body):
                material = model.geom_matid[geom]
                own = np.array_equal(model.geom_rgba[geom], np.array([0.5, 0.5, 0.5, 1.0], np.float32))
                color = model.mat_rgba[material] if own and material >= 0 else model.geom_rgba[geom]
                model.geom_rgba[geom] = np.append(color[:3] * np.array(tint) + NO_GRAY, color[3])
    for name, shift in look.cameras.items():
        camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
        if camera < 0:
            known = ", ".join(model.camera(i).name for i in range(model.ncam)) or "none"
            raise InputError(f"the look shifts a camera {name!r}; the model has: {known}")
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.cam_quat[camera])
        R = rotation.reshape(3, 3) @ GL_FROM_CV
        model.cam_pos[camera] += R @ np.array(shift.translation)
        turned = R @ Rotation.from_rotvec(shift.rotation).as_matrix() @ GL_FROM_CV
        mujoco.mju_mat2Quat(model.cam_quat[camera], turned.ravel())
        model.cam_intrinsic[camera, :2] *= shift.focal
        half = np.deg2rad(model.cam_fovy[camera]) / 2
        model.cam_fovy[camera] = np.rad2deg(2 * np.arctan(np.tan(half) / shift.focal))
    return model


def bodies_named(model: Any, name: str) -> list[int]:
    """Ids of the bodies that a look means. Raises InputError when there is none."""
    wanted = WORLD if name == "world" else (name,)
    found = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, each) for each in wanted]
    if max(found) < 0:
        known = ", ".join(model.body(i).name for i in range(model.nbody))
        raise InputError(f"the look names a body {name!r}; the model has: {known}")
    return [body for body in found if body >= 0]


def textured(
    parts: tuple[Part, ...], model: Any, look: Look | None
) -> tuple[tuple[Part, ...], dict[int, NDArray[np.uint8]]]:
    """Parts with the look's textures, and its pictures by texture number. Raises InputError for an unknown one."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    if look is None:
        return parts, pictures
    out = list(parts)
    for number, (name, kind) in enumerate(look.textures.items(), start=model.ntex):
        if kind not in PATTERNS:
            raise InputError(f"no texture {kind!r}; there are: {', '.join(PATTERNS)}")
        pictures[number] = PATTERNS[kind](np.random.default_rng([look.seed, crc32(name.encode())]))
        tint = np.array(look.tints.get(name, (1.0, 1.0, 1.0)), np.float32)
        for k, part in enumerate(parts):
            if part.body in bodies_named(model, name) and not part.endless:
                out[k] = replace(box_mapped(part, number, TILE_M[kind]), rgb=tint)
    return tuple(out), pictures


# ------------------------------------------------------------------ patterns: (N, N, 3), each continues at its borders


def _cloud(rng: np.random.Generator, steepness: float, stretch: float = 1.0) -> Array:
    """(N, N) smooth noise in 0..1 by its spectrum, |f|^-steepness; stretch > 1 draws it out along the columns."""
    f = np.fft.fftfreq(PICTURE) * PICTURE
    radius = np.hypot(f[:, None] * stretch, f[None])
    radius[0, 0] = np.inf
    phase = np.exp(2j * np.pi * rng.uniform(size=radius.shape))
    noise = np.fft.ifft2(radius**-steepness * phase).real
    low, high = np.quantile(noise, (0.01, 0.99))
    return np.clip((noise - low) / (high - low), 0, 1)


def _blend(share: Array, a: Array, b: Array) -> NDArray[np.uint8]:
    return np.rint(255 * np.clip(a + share[..., None] * (b - a), 0, 1)).astype(np.uint8)


def _pair(rng: np.random.Generator, apart: float) -> tuple[Array, Array]:
    """Two colours of about one hue, the second darker by `apart`."""
    light = rng.uniform(0.45, 0.95, 3)
    return light, np.clip(light * (1 - apart) + rng.uniform(-0.05, 0.05, 3), 0, 1)


def _wood(rng: np.random.Generator) -> NDArray[np.uint8]:
    light = np.array([0.85, 0.68, 0.46]) * rng.uniform(0.55, 1.1)
    rings = np.arange(PICTURE)[:, None] * 2 * np.pi * rng.integers(6, 14) / PICTURE
    grain = 0.5 + 0.5 * np.sin(rings + 5 * _cloud(rng, 2.2, 4.0))
    return _blend(0.75 * grain + 0.25 * _cloud(rng, 1.2, 12.0), light, light * [0.7, 0.62, 0.55])


def _marble(rng: np.random.Generator) -> NDArray[np.uint8]:
    veins = np.abs(_cloud(rng, 1.7) - 0.5) * 2
    return _blend((1 - veins) ** 4, *_pair(rng, 0.5))


def _cloth(rng: np.random.Generator) -> NDArray[np.uint8]:
    wave = 0.5 + 0.5 * np.sin(np.arange(PICTURE) * 2 * np.pi * 8 / PICTURE)
    over = (np.add.outer(np.arange(PICTURE) // 16, np.arange(PICTURE) // 16) % 2).astype(bool)
    weave = np.where(over, wave[:, None], wave[None]) * 0.8 + 0.2 * _cloud(rng, 0.5)
    return _blend(weave, *_pair(rng, 0.35))


def _checker(rng: np.random.Generator) -> NDArray[np.uint8]:
    tiles = np.add.outer(np.arange(PICTURE) * 2 // PICTURE, np.arange(PICTURE) * 2 // PICTURE) % 2
    return _blend(tiles * 0.95 + 0.05 * _cloud(rng, 1.0), rng.uniform(0.6, 1, 3), rng.uniform(0.05, 0.5, 3))


def _speckle(rng: np.random.Generator) -> NDArray[np.uint8]:
    return _blend((_cloud(rng, 0.6) > 0.62) * 0.9 + 0.1 * _cloud(rng, 2.0), *_pair(rng, 0.6))


def _plain(rng: np.random.Generator) -> NDArray[np.uint8]:
    return _blend(np.zeros((PICTURE, PICTURE)), *_pair(rng, 0.0))


PATTERNS: dict[str, Callable[[np.random.Generator], NDArray[np.uint8]]] = {
    "wood": _wood,
    "marble": _marble,
    "cloth": _cloth,
    "checker": _checker,
    "speckle": _speckle,
    "plain": _plain,
}
