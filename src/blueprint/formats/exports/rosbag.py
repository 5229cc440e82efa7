"""A ROS 2 bag per episode, MCAP inside: what `ros2 bag`, Foxglove, rosbags and mcap open.

Frame k is stamped 1 s + k / fps: time 0 means "latest" to tf2 and "no clock yet" to rclpy. Topics: docs/exports.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import BackendError
from blueprint.formats.exports import Converted
from blueprint.formats.exports.steps import ACTION, OBSERVATION, Demo, demos, origin, pictures
from blueprint.formats.images import encode_jpeg
from blueprint.formats.lerobot.read import ForeignDataset
from blueprint.formats.lerobot.sidecar_read import Sidecar
from blueprint.formats.lerobot.writer import INDEX_FEATURES
from blueprint.model.capture import Camera

START_NS = 1_000_000_000
# features of joints: topic, field of JointState. Its values keep the dataset's units
JOINTS = {ACTION: ("/action", "position"), "observation.state": ("/joint_states", "position")}
JOINTS |= {f"observation.{part}": (f"/joint_states/{part}", part) for part in ("velocity", "effort")}
STRING = "std_msgs/String"


def write(dataset: ForeignDataset, out: Path) -> Converted:
    """One folder `episode_NNNNNN` each. Raises BackendError without rosbags."""
    try:
        from rosbags import rosbag2, typesys  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BackendError("rosbags is not installed", "pip install 'blueprint-pipeline[ros]'") from error
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)  # later distributions define these types alike
    sidecar, done = Sidecar(dataset), Converted(recoded=list(dataset.videos))
    for demo in demos(dataset):
        path = out / f"episode_{demo.episode.index:06d}"
        # 9 is what Jazzy writes and Humble cannot parse (ros2/rosbag2#2013)
        writer = rosbag2.Writer(path, version=8, storage_plugin=rosbag2.StoragePlugin.MCAP)
        writer.set_compression(rosbag2.CompressionMode.STORAGE, rosbag2.CompressionFormat.ZSTD)
        writer.set_custom_data("origin", json.dumps(origin(dataset)))
        with writer:
            _write_episode(dataset, sidecar, demo, _Bag(writer, store))
        done.episodes, done.frames = done.episodes + 1, done.frames + demo.episode.length
    return done


class _Bag:
    """Messages of one bag, a channel per topic; `at` sets the time of those that follow."""

    def __init__(self, writer: Any, store: Any) -> None:
        self._writer, self._store = writer, store
        self._channels: dict[str, Any] = {}

    def at(self, nanoseconds: int) -> None:
        self._nanoseconds = nanoseconds
        sec, nanosec = divmod(nanoseconds, 10**9)
        self._stamp = self.make("builtin_interfaces/Time", sec=sec, nanosec=nanosec)

    def make(self, kind: str, /, **fields: Any) -> Any:
        return self._store.types[kind.replace("/", "/msg/")](**fields)

    def header(self, frame: str = "") -> Any:
        return self.make("std_msgs/Header", stamp=self._stamp, frame_id=frame)

    def send(self, topic: str, kind: str, /, **fields: Any) -> None:
        message, topic = self.make(kind, **fields), re.sub(r"[^A-Za-z0-9_/]", "_", topic)
        if topic not in self._channels:
            self._channels[topic] = self._writer.add_connection(topic, message.__msgtype__, typestore=self._store)
        data = self._store.serialize_cdr(message, message.__msgtype__)
        self._writer.write(self._channels[topic], self._nanoseconds, data)


def _write_episode(dataset: ForeignDataset, sidecar: Sidecar, demo: Demo, bag: _Bag) -> None:
    episode, lenses, poses = demo.episode, sidecar.cameras(demo.episode), sidecar.poses(demo.episode)
    shown = {key.removesuffix("_image"): frames for key, frames in pictures(dataset, episode).items()}
    depths = {name: sidecar.depth(name, episode) or repeat(None) for name in shown}
    for k in range(episode.length):
        bag.at(START_NS + round(k * 1e9 / dataset.fps))
        if k == 0 or demo.texts[k] != demo.texts[k - 1]:
            bag.send("/task", STRING, data=demo.texts[k])
        _send_values(bag, dataset, demo, k)
        _send_poses(bag, {name: rows[k] for name, rows in poses.items() if np.isfinite(rows[k]).all()})
        for name, frames in shown.items():
            _send_pictures(bag, name, lenses.get(name), next(frames), next(depths[name]))


def _send_values(bag: _Bag, dataset: ForeignDataset, demo: Demo, k: int) -> None:
    rows = {OBSERVATION + key: column for key, column in demo.observation.items()} | {ACTION: demo.action}
    for name, column in (rows | {n: c for n, c in demo.columns.items() if n not in INDEX_FEATURES}).items():
        values: NDArray[np.float64] = np.ravel(column[k]).astype(np.float64)
        names: Any = dataset.features.get(name, {}).get("names")
        if isinstance(names, dict) and len(names) == 1:  # {"motors": [...]}
            names = next(iter(names.values()))
        fits = isinstance(names, list) and len(names) == len(values)
        names = [str(names[i]) if fits else f"value_{i}" for i in range(len(values))]
        if name in JOINTS:
            topic, part = JOINTS[name]
            fields = dict.fromkeys(("position", "velocity", "effort"), np.zeros(0)) | {part: values}
            bag.send(topic, "sensor_msgs/JointState", header=bag.header(), name=names, **fields)
        else:
            label = {"label": ",".join(names), "size": len(values), "stride": len(values)}
            dimension = bag.make("std_msgs/MultiArrayDimension", **label)
            layout = bag.make("std_msgs/MultiArrayLayout", dim=[dimension], data_offset=0)
            bag.send("/" + name.replace(".", "/"), "std_msgs/Float64MultiArray", layout=layout, data=values)


def _send_poses(bag: _Bag, poses: Mapping[str, NDArray[np.float64]]) -> None:
    """`body/NAME` as the frame NAME, `camera/NAME` as NAME_optical_frame (REP 103: OpenCV's axes)."""
    transforms = []
    for path, pose in poses.items():
        kind, _, name = path.partition("/")
        at = bag.make("geometry_msgs/Vector3", **dict(zip("xyz", pose[:3], strict=True)))
        turn = bag.make("geometry_msgs/Quaternion", **dict(zip("wxyz", pose[3:], strict=True)))
        fields = {"transform": bag.make("geometry_msgs/Transform", translation=at, rotation=turn)}
        fields |= {"header": bag.header("world"), "child_frame_id": name + "_optical_frame" * (kind == "camera")}
        transforms.append(bag.make("geometry_msgs/TransformStamped", **fields))
    if transforms:
        bag.send("/tf", "tf2_msgs/TFMessage", transforms=transforms)


def _send_pictures(
    bag: _Bag, name: str, camera: Camera | None, color: NDArray[Any], depth: NDArray[Any] | None
) -> None:
    """One frame of one camera; depth is NaN where there is none (REP 117)."""
    header, topic = bag.header(f"{name}_optical_frame"), f"/camera/{name}"
    data = np.frombuffer(encode_jpeg(color), np.uint8)
    bag.send(f"{topic}/image/compressed", "sensor_msgs/CompressedImage", header=header, format="jpeg", data=data)
    if depth is not None:
        data = np.frombuffer(np.where(depth > 0, depth, np.float32(np.nan)).tobytes(), np.uint8)
        fields = {"height": len(depth), "width": depth.shape[1], "step": 4 * depth.shape[1], "data": data}
        bag.send(f"{topic}/depth", "sensor_msgs/Image", header=header, encoding="32FC1", is_bigendian=0, **fields)
    if camera is not None:
        k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
        zeros = dict.fromkeys(("x_offset", "y_offset", "height", "width"), 0)  # of the whole picture
        fields = {"roi": bag.make("sensor_msgs/RegionOfInterest", do_rectify=False, **zeros)}
        fields |= {"k": k.ravel(), "r": np.eye(3).ravel(), "p": np.column_stack([k, np.zeros(3)]).ravel()}
        fields |= {"height": camera.height, "width": camera.width, "binning_x": 0, "binning_y": 0}
        fields |= {"distortion_model": "plumb_bob", "d": np.zeros(5)}
        bag.send(f"{topic}/camera_info", "sensor_msgs/CameraInfo", header=header, **fields)
