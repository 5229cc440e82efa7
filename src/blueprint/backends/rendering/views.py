"""Where everything is in each state, and how cameras and lights see it: matrices and what to leave out, no pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.renderer_mujoco import intrinsics, mujoco, place
from blueprint.backends.rendering.geometry import Part
from blueprint.backends.rendering.gl import Triangles
from blueprint.backends.rendering.look import GL_FROM_CV, Light
from blueprint.model.capture import Camera

Array = NDArray[np.float64]

SHADOW_MAP = 1024
STILL_M = 2e-5  # a fiftieth of a pixel at 1 m
FEW_FRAMES = 3  # for which drawing a background apart does not pay
TILE, COARSE = 32, 64  # pixels: of squares in the shadow, and of where ground and sky can be seen
MOST_WALLS = 256  # faces of a part that may be the one which hides the ground
MARGIN = 1e-3  # of what is left out: cosine and metres, far more than what stands still may move


@dataclass(frozen=True)
class Motion:
    """Where every visible part and camera is in each of T states.

    poses: (T, P, 3, 4) float32 [R | t] of the parts; reach: (P,) radius of each part about its origin [m]
    camera_poses: (T, C, 3, 4) [R | t], OpenCV frame to world; cameras: their intrinsics
    mounted: which cameras are on a body that may move
    """

    parts: tuple[Part, ...]
    poses: NDArray[np.float32]
    reach: Array
    camera_poses: Array
    cameras: tuple[Camera, ...]
    mounted: tuple[bool, ...]

    @classmethod
    def of(cls, model: Any, parts: tuple[Part, ...], qpos: Array, views: list[int], width: int, height: int) -> Motion:
        data = mujoco.MjData(model)
        geoms = np.array([part.geom for part in parts], int)
        poses = np.empty((len(qpos), len(parts), 3, 4), np.float32)
        camera_poses = np.empty((len(qpos), len(views), 3, 4))
        for t, row in enumerate(qpos):
            place(model, data, row)
            poses[t, :, :, :3] = data.geom_xmat[geoms].reshape(-1, 3, 3)
            poses[t, :, :, 3] = data.geom_xpos[geoms]
            camera_poses[t, :, :, :3] = data.cam_xmat[views].reshape(-1, 3, 3) @ GL_FROM_CV
            camera_poses[t, :, :, 3] = data.cam_xpos[views]
        reach = np.array([np.linalg.norm(part.vertices, axis=1).max() for part in parts])
        cameras = tuple(intrinsics(model, view, width, height) for view in views)
        mounted = tuple(bool(model.body_weldid[model.cam_bodyid[view]]) for view in views)
        return cls(parts, poses, reach, camera_poses, cameras, mounted)

    def fixed(self, camera: int) -> bool:
        """Whether the camera never moves."""
        return bool(np.abs(self.camera_poses[:, camera] - self.camera_poses[0, camera]).max() < 1e-9)

    def still(self, camera: int | None = None) -> NDArray[np.bool_]:
        """(P,) which parts stay where they are in the first state, in the world or as seen from a camera."""
        R, t = self.poses[..., :3], self.poses[..., 3]
        if camera is not None:
            R_wc, t_wc = self.camera_poses[:, None, camera, :, :3], self.camera_poses[:, None, camera, :, 3]
            R, t = np.swapaxes(R_wc, -1, -2) @ R, np.einsum("tpji,tpj->tpi", R_wc, t - t_wc)
        shift = np.linalg.norm(t - t[0], axis=-1)
        turn = np.linalg.norm((R - R[0]).reshape(*R.shape[:2], 9), axis=-1) * self.reach
        return (shift + turn).max(axis=0) < STILL_M


@dataclass(frozen=True)
class Lens:
    """What a picture has of its camera. clip: camera -> clip; unclip: (column, row, depth, 1) of a pixel -> camera

    rays: (column, row, 1) -> direction in the camera
    """

    clip: Array
    unclip: Array
    rays: Array

    @classmethod
    def of(cls, camera: Camera, scale: int, near: float, far: float) -> Lens:
        """scale: pixels per pixel of the camera, along each axis; their centres lie at half numbers."""
        width, height = scale * camera.width, scale * camera.height
        K = np.array([[camera.fx, 0, camera.cx + 0.5], [0, camera.fy, camera.cy + 0.5], [0, 0, 1 / scale]]) * scale
        clip = np.zeros((4, 4))
        clip[0, :3] = 2 * K[0] / width - K[2]
        clip[1, :3] = K[2] - 2 * K[1] / height
        clip[2] = [0, 0, -near / (far - near), near * far / (far - near)]
        clip[3, 2] = 1
        ndc = np.diag([2 / width, -2 / height, 1.0, 1.0])
        ndc[:2, 3] = -1, 1
        return cls(clip, np.linalg.solve(clip, ndc).astype(float), np.linalg.inv(K).astype(float))


@dataclass(frozen=True)
class Frame:
    """How one picture is projected.

    project: world -> clip, depth from 1 (near) to 0 (far); world: (column, row, depth, 1) of a pixel -> world
    direction: (column, row, 1) -> direction in the world; eye, forward: (3,) world
    """

    project: Array
    world: Array
    direction: Array
    eye: Array
    forward: Array

    @classmethod
    def of(cls, lens: Lens, pose: Array) -> Frame:
        """pose: (3, 4) [R | t], camera -> world."""
        R, eye = pose[:, :3], pose[:, 3]
        view, back = np.eye(4), np.eye(4)
        view[:3, :3], view[:3, 3] = R.T, -R.T @ eye
        back[:3] = pose
        return cls(lens.clip @ view, back @ lens.unclip, R @ lens.rays, eye, R[:, 2])


@dataclass(frozen=True)
class View:
    """What one camera draws.

    background: parts to be drawn once, nearest first; None = this camera draws all, every time
    drawn: parts to be drawn every time
    faces: of every part, those that can be seen at all
    """

    motion: Motion
    camera: int
    background: NDArray[np.int64] | None
    drawn: NDArray[np.int64]
    faces: list[Triangles]

    @classmethod
    def of(cls, motion: Motion, camera: int) -> View:
        everything = np.arange(len(motion.parts))
        if motion.fixed(camera) and len(motion.poses) > FEW_FRAMES:
            still = motion.still()
            faces: list[Triangles] = [(None, part.faces) for part in motion.parts]
            whole = cls(motion, camera, None, everything[still], faces)
            return cls(motion, camera, whole.order(0), everything[~still], faces)
        carried = motion.still(camera)
        faces = [
            (None, _facing(part, motion, k, camera) if carried[k] else part.faces)
            for k, part in enumerate(motion.parts)
        ]
        return cls(motion, camera, None, everything, faces)

    def frame(self, t: int, lens: Lens) -> Frame:
        return Frame.of(lens, self.motion.camera_poses[t, self.camera])

    def order(self, t: int) -> NDArray[np.int64]:
        """The parts that may be in the picture in state t, by their far ends: a table comes after what is on it."""
        pose = self.motion.camera_poses[t, self.camera]
        centers = (self.motion.poses[t, self.drawn, :, 3] - pose[:, 3]) @ pose[:, :3]
        reach = self.motion.reach[self.drawn]
        inside = (centers @ _sides(self.motion.cameras[self.camera]).T > -reach[:, None]).all(axis=1)
        order = np.argsort(centers[:, 2] + reach, kind="stable")
        return self.drawn[order[inside[order]]]


def _sides(camera: Camera) -> Array:
    """(5, 3) inward normals of the planes that bound what a camera sees: left, right, top, bottom, behind."""
    right, bottom = camera.width - camera.cx - 0.5, camera.height - camera.cy - 0.5
    planes = np.array(
        [
            [camera.fx, 0, camera.cx + 0.5],
            [-camera.fx, 0, right],
            [0, camera.fy, camera.cy + 0.5],
            [0, -camera.fy, bottom],
            [0, 0, 1],
        ]
    )
    return planes / np.linalg.norm(planes, axis=1, keepdims=True)


def _facing(part: Part, motion: Motion, k: int, camera: int) -> NDArray[np.int32]:
    """The faces of a part carried along with a camera that face it and reach into its picture."""
    pose, view = motion.poses[0, k].astype(np.float64), motion.camera_poses[0, camera]
    points = (part.vertices @ pose[:, :3].T + pose[:, 3] - view[:, 3]) @ view[:, :3]
    corners = points[part.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    away = np.einsum("fi,fi->f", normal, corners[:, 0])
    size = np.linalg.norm(normal, axis=1) * np.linalg.norm(corners[:, 0], axis=1)
    outside = (corners @ _sides(motion.cameras[camera]).T < -MARGIN).all(axis=1).any(axis=1)
    return part.faces[(away < MARGIN * size) & ~outside]


# ------------------------------------------------------------------ what lies behind everything

Box = tuple[int, int, int, int]  # column and row of its corner, width, height [pixels]


@dataclass(frozen=True)
class Backdrop:
    """Where the endless plane and the sky can be seen past the widest convex part, a table mostly, and each other.

    part: index, -1 = none; walls: (K, 4) outward normals and offsets of its faces; corners: (V, 3), in its own frame
    ground: z of the endless plane [m], None without one; near, far: planes of the picture [m]
    """

    part: int
    walls: Array
    corners: Array
    ground: float | None
    near: float
    far: float

    @classmethod
    def of(cls, motion: Motion, near: float, far: float) -> Backdrop:
        """Nothing hides anything where endless planes are several, tilted or in motion."""
        endless = [k for k, part in enumerate(motion.parts) if part.endless]
        heights = motion.poses[:, endless, 2]  # how z depends on the plane's own x, y, z, 1
        ground = float(heights[0, 0, 3]) if endless else None
        level = not endless or np.abs(heights - [0, 0, 1, ground]).max() < STILL_M
        widest = sorted(range(len(motion.parts)), key=lambda k: -np.ptp(motion.parts[k].vertices, axis=0).max())
        for k in widest if level else ():
            hull = None if k in endless else _convex(motion.parts[k])
            if hull is not None:
                return cls(k, hull.equations, hull.points[hull.vertices], ground, near, far)
        return cls(-1, np.zeros((0, 4)), np.zeros((0, 3)), None, near, far)

    def seen(self, frame: Frame, poses: NDArray[np.float32], width: int, height: int) -> tuple[Box, Box]:
        """Where the endless plane, and where the sky may be seen. poses: (P, 3, 4) of now."""
        u, v = np.meshgrid(np.arange(0, width + COARSE, COARSE), np.arange(0, height + COARSE, COARSE))
        along = np.stack([u, v, np.ones_like(u)], axis=-1) @ frame.direction.T  # depth 1
        ground, hidden = np.zeros(u.shape, bool), np.zeros(u.shape, bool)
        above = self.ground is not None and frame.eye[2] > self.ground
        if above:
            ground = (self.ground - frame.eye[2]) / np.minimum(along[..., 2], -1e-9) < 0.99 * self.far
        if self.part >= 0:
            R, t = poses[self.part, :, :3].astype(float), poses[self.part, :, 3].astype(float)
            if self.ground is None or (above and (self.corners @ R[2] + t[2]).min() > self.ground):
                hidden = self._hits(along @ R, (frame.eye - t) @ R)
        lands, blocked = _whole(ground), _whole(hidden)
        return _around(~blocked, width, height), _around(~(blocked | lands), width, height)

    def _hits(self, along: Array, eye: Array) -> NDArray[np.bool_]:
        """Which rays meet the convex part beyond the near plane; all in its own frame."""
        closing = along @ self.walls[:, :3].T
        closing = np.where(np.abs(closing) < 1e-12, 1e-12, closing)
        depth = -(self.walls[:, :3] @ eye + self.walls[:, 3]) / closing
        enters = np.where(closing < 0, depth, -np.inf).max(axis=-1)
        leaves = np.where(closing > 0, depth, np.inf).min(axis=-1)
        return (enters > self.near) & (enters < leaves)


def _convex(part: Part) -> Any:
    """The hull of a part that is closed and convex, else None."""
    from scipy.spatial import ConvexHull

    if len(part.faces) > MOST_WALLS or np.ptp(part.vertices, axis=0).min() < 1e-6:
        return None
    a, b, c = np.moveaxis(part.vertices[part.faces].astype(float), 1, 0)
    volume = float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)
    hull = ConvexHull(part.vertices.astype(float))
    return hull if abs(hull.volume - volume) < 1e-4 * hull.volume else None


def _whole(corners: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Squares of which all four corners are so."""
    return corners[:-1, :-1] & corners[1:, :-1] & corners[:-1, 1:] & corners[1:, 1:]


def _around(squares: NDArray[np.bool_], width: int, height: int) -> Box:
    rows, columns = (np.flatnonzero(squares.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return 0, 0, 0, 0
    left, top = COARSE * int(columns[0]), COARSE * int(rows[0])
    return left, top, min(COARSE * int(columns[-1] + 1), width) - left, min(COARSE * int(rows[-1] + 1), height) - top


# ------------------------------------------------------------------ the light that casts shadows


@dataclass(frozen=True)
class Shadow:
    """How the shadow map is drawn, and read. key: index of its light; project: world -> clip; sample: world -> map."""

    key: int
    project: Array
    sample: Array

    @classmethod
    def of(cls, model: Any, lights: tuple[Light, ...]) -> Shadow | None:
        """Of the first light that casts one, as MuJoCo's renderer frames it."""
        casting = [k for k, light in enumerate(lights) if light.castshadow]
        if not casting:
            return None
        light = lights[casting[0]]
        near, far = (float(bound) * model.stat.extent for bound in (model.vis.map.znear, model.vis.map.zfar))
        clip = np.zeros((4, 4))
        if light.directional:
            half = float(model.vis.map.shadowclip) * model.stat.extent
            clip[0, 0] = clip[1, 1] = 1 / half
            clip[2, 2:] = -1 / (far - near), far / (far - near)
            clip[3, 3] = 1
        else:
            angle = np.deg2rad(min(2 * light.cutoff * float(model.vis.map.shadowscale), 160.0))
            clip[0, 0] = clip[1, 1] = 1 / np.tan(angle / 2)
            clip[2, 2:] = -near / (far - near), near * far / (far - near)
            clip[3, 2] = 1
        forward = light.direction / np.linalg.norm(light.direction)
        right = np.cross(forward, np.eye(3)[np.abs(forward).argmin()])
        right /= np.linalg.norm(right)
        view = np.eye(4)
        view[:3, :3] = np.stack([right, np.cross(right, forward), forward])
        view[:3, 3] = -view[:3, :3] @ light.position
        project = clip @ view
        share = (SHADOW_MAP - 2) / SHADOW_MAP  # one pixel of the map's border stays empty: what lies beyond it is lit
        bias = np.diag([share / 2, -share / 2, 1.0, 1.0])
        bias[:2, 3] = 0.5
        return cls(casting[0], project, bias @ project)


@dataclass(frozen=True)
class Squares:
    """Squares of a picture, and where what is seen in them lies in the shadow map.

    at: (S, 2) column and row of each; low, high: (4, S) its bounds in the map, along x, y, x + y and x - y
    corners: (P, 8, 3) of the parts' boxes
    """

    at: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    corners: NDArray[np.float32]

    @classmethod
    def of(cls, depths: NDArray[np.float32], frame: Frame, shadow: Shadow, parts: tuple[Part, ...]) -> Squares:
        """depths: (H, W) of the depth buffer, top row first."""
        height, width = depths.shape
        v, u = np.mgrid[0:height, 0:width] + 0.5
        seen = np.stack([u, v, depths, np.ones_like(u)], axis=-1) @ (shadow.sample @ frame.world).T
        along = _four_ways(seen[..., 0] / seen[..., 3], seen[..., 1] / seen[..., 3])
        rows, columns = -(-height // TILE), -(-width // TILE)
        padded = np.pad(along, ((0, 0), (0, rows * TILE - height), (0, columns * TILE - width)), mode="edge")
        blocks = padded.reshape(4, rows, TILE, columns, TILE)
        unit = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(8, 3)
        low, high = (np.array([bound(part.vertices, axis=0) for part in parts]) for bound in (np.min, np.max))
        corners = low[:, None] + unit * (high - low)[:, None]
        at = np.argwhere(np.ones((rows, columns)))[:, ::-1]
        bounds = (bound(axis=(2, 4)).reshape(4, -1) for bound in (blocks.min, blocks.max))
        return cls(*(np.ascontiguousarray(array, np.float32) for array in (at, *bounds, corners)))

    def shaded(self, poses: NDArray[np.float32], parts: NDArray[np.int64], shadow: Shadow) -> NDArray[np.float32]:
        """(N, 2) column and row of the squares on which parts at these poses (P, 3, 4) may throw a shadow."""
        sample = shadow.sample.astype(np.float32)
        turned = sample[:, :3] @ poses[parts]
        seen = self.corners[parts] @ np.swapaxes(turned[..., :3], 1, 2) + (turned[..., 3] + sample[:, 3])[:, None]
        depth = np.maximum(seen[..., 3], np.float32(1e-6))
        along = _four_ways(seen[..., 0] / depth, seen[..., 1] / depth)
        texels = np.float32(2 * np.sqrt(2) / SHADOW_MAP)
        low, high = along.min(axis=2) - texels, along.max(axis=2) + texels
        meets = np.ones((len(parts), len(self.at)), bool)
        for k in range(4):
            meets &= low[k][:, None] < self.high[k]
            meets &= high[k][:, None] > self.low[k]
        return self.at[meets.any(axis=0)]


def _four_ways(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return np.stack([x, y, x + y, x - y])
