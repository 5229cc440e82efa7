"""What a pack adds to the pictures of an episode: boxes, normals, goal pictures, point clouds."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Images
from blueprint.formats.arrays import npz_stack
from blueprint.formats.exr import write_exr
from blueprint.formats.images import write_color
from blueprint.formats.lerobot.annotations import CocoBoxes, box_3d, write_compact
from blueprint.geometry.segmentation.boxes import amodal_box, sample_points, visible_boxes
from blueprint.geometry.transforms import invert, matrix_to_pose, pose_to_matrix, transform_points
from blueprint.model.capture import Camera
from blueprint.model.packs import Stream
from blueprint.model.spatial import Pose
from blueprint.stages.recording.labels import Labels

Array = NDArray[np.float64]


def matrix(pose: Array) -> Array:
    """(4, 4) of position and quaternion wxyz (7,)."""
    return pose_to_matrix(Pose(position=tuple(pose[:3]), quat_wxyz=tuple(pose[3:])))


class ViewStreams:
    """The side files of one camera in one episode. camera: its intrinsics under the episode's look."""

    def __init__(self, folder: Path, name: str, camera: Camera, labels: Labels, streams: frozenset[Stream]) -> None:
        self._folder = folder
        self._name = name
        self._camera = camera
        self._labels = labels
        self._streams = streams
        self._coco = CocoBoxes(name, (camera.width, camera.height), labels.categories)
        self._boxes: list[list[dict]] = []
        self._goal: NDArray[np.uint8] | None = None
        self._frame = 0
        if "normals" in streams:
            (folder / f"normals.{name}").mkdir()

    def add(self, images: Images, body_poses: Array, camera_pose: Array) -> None:
        """images: labels in the recording's values; body_poses: (B, 7), NaN = not there; camera_pose: (7,)."""
        self._goal = images.color
        if {"bbox_2d", "bbox_3d"} & self._streams:
            T_camera_world = invert(matrix(camera_pose))
            hulls = {
                body: transform_points(T_camera_world @ matrix(body_poses[body]), points)
                for body, points in self._labels.points.items()
                if np.isfinite(body_poses[body]).all()
            }
            if "bbox_2d" in self._streams and images.segmentation is not None:
                self._add_2d(images.segmentation, hulls)
            if "bbox_3d" in self._streams:
                self._add_3d(T_camera_world, body_poses)
        if images.normals is not None and "normals" in self._streams:
            write_exr(self._folder / f"normals.{self._name}" / f"{self._frame:06d}.exr", images.normals)
        self._frame += 1

    def _add_2d(self, segmentation: NDArray[np.uint16], hulls: dict[int, Array]) -> None:
        labels = self._labels
        self._coco.begin_frame()
        for instance, (box, area) in visible_boxes(labels.instance[segmentation]).items():
            kind = labels.instances[instance]
            if kind.thing:
                own = [points for body, points in hulls.items() if labels.instance[body] == instance]
                amodal = amodal_box(np.concatenate(own), self._camera) if own else None
                self._coco.add(instance, labels.categories.index(kind.category), box, area, amodal)

    def _add_3d(self, T_camera_world: Array, body_poses: Array) -> None:
        labels, boxes = self._labels, []
        for body in labels.objects:
            if np.isfinite(body_poses[body]).all():
                T = T_camera_world @ matrix(body_poses[body])
                low, high = labels.points[body].min(axis=0), labels.points[body].max(axis=0)
                center = transform_points(T, (low + high) / 2)
                quat = np.array(matrix_to_pose(T).quat_wxyz)
                instance, category = int(labels.instance[body]), int(labels.category[body])
                boxes.append(box_3d(instance, category, labels.bodies[body], center, high - low, quat))
        self._boxes.append(boxes)

    def finish(self, *, goal: bool) -> dict[str, str]:
        """Write what is left; returns KIND/CAMERA -> file of the folder. goal: the last picture shows the task done."""
        found: dict[str, str] = {}
        if "normals" in self._streams:
            found["normals"] = f"normals.{self._name}"
        if "bbox_2d" in self._streams:
            found["bbox_2d"] = f"bbox_2d.{self._name}.json"
            self._coco.save(self._folder / found["bbox_2d"])
        if "bbox_3d" in self._streams:
            found["bbox_3d"] = f"bbox_3d.{self._name}.json"
            frames = [{"frame_index": t, "boxes": boxes} for t, boxes in enumerate(self._boxes)]
            write_compact(self._folder / found["bbox_3d"], {"camera": self._name, "frames": frames})
        if "goal_images" in self._streams and goal and self._goal is not None:
            found["goal_images"] = f"goal.{self._name}.png"
            write_color(self._folder / found["goal_images"], self._goal)
        return {f"{kind}/{self._name}": file for kind, file in found.items()}


class PointCloud:
    """`point_cloud.npz`: what all cameras see, as `count` points a frame, world frame.

    points (T, N, 3) float32 [m], colors (T, N, 3) uint8, instance (T, N) uint16, camera (T, N) uint8, and with normals
    normals (T, N, 3) float32. A frame in which nothing is seen has NaN points.
    """

    def __init__(
        self, files: ExitStack, folder: Path, labels: Labels, count: int, max_depth_m: float, seed: list[int]
    ) -> None:
        self._stack = files.enter_context(npz_stack(folder / "point_cloud.npz"))
        self._labels = labels
        self._count = count
        self._max_depth_m = max_depth_m
        self._seed = seed

    def add(self, images: list[Images], cameras: list[Camera], camera_poses: Array) -> None:
        """images, cameras, camera_poses (C, 7): of one frame, all with depth and labels."""
        rng = np.random.default_rng([*self._seed, self._stack.frames])
        each = np.full(len(images), self._count // len(images))
        each[: self._count % len(images)] += 1
        parts: list[dict[str, NDArray]] = []
        for c, (image, camera) in enumerate(zip(images, cameras, strict=True)):
            assert image.depth is not None and image.segmentation is not None
            depth = np.where(image.depth <= self._max_depth_m, image.depth, np.float32(0))
            points, chosen = sample_points(depth, camera, int(each[c]), rng)
            T = matrix(camera_poses[c])
            part = {
                "points": transform_points(T, points).astype(np.float32),
                "colors": image.color.reshape(-1, 3)[chosen],
                "instance": self._labels.instance[image.segmentation.ravel()[chosen]],
                "camera": np.full(len(chosen), c, np.uint8),
            }
            if image.normals is not None:
                part["normals"] = (image.normals.reshape(-1, 3)[chosen] @ T[:3, :3].T).astype(np.float32)
            parts.append(part)
        self._stack.add({name: self._filled(np.concatenate([part[name] for part in parts])) for name in parts[0]})

    def _filled(self, values: NDArray) -> NDArray:
        """As many rows as every frame has: repeated where a camera saw nothing."""
        if len(values):
            return values[np.arange(self._count) % len(values)]
        blank = np.nan if values.dtype.kind == "f" else 0
        return np.full((self._count, *values.shape[1:]), blank, values.dtype)
