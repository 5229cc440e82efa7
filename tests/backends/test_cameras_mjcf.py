"""The further cameras of a workcell see its objects, and say from where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import toy_gripper
from blueprint.backends.cameras_mjcf import add_cameras
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.core.errors import InputError
from blueprint.geometry.segmentation.boxes import visible_boxes
from blueprint.model.spatial import Pose


def test_every_camera_sees_every_object_and_the_robot_is_where_they_say(tmp_path: Path) -> None:
    workcell = toy_gripper.make_workcell(tmp_path)
    file = workcell.path(workcell.mjcf)
    at = {"box": (0.4, 0.0, 0.5), "ball": (0.7, 0.3, 0.5)}
    bodies = [body.model_copy(update={"pose": Pose(position=at[body.name])}) for body in workcell.bodies]
    assert add_cameras(file, Pose(position=(-0.2, 0.0, 0.5)), bodies) == ("overhead", "front")  # the toy has a side
    renderer = RendererMujoco()
    qpos = np.array([[0, 0.03, 0.03, *at["box"], 1, 0, 0, 0, *at["ball"], 1, 0, 0, 0]])
    replay = renderer.replay(file, qpos, ("overhead", "front"), 160, 120)
    views = next(renderer.render(file, qpos, ("overhead", "front"), 160, 120, depth=False, segmentation=True))
    labels = {name: replay.bodies.index(name) for name in ("box", "ball", "link")}
    middle = {}
    for name, images in views.items():
        assert images.segmentation is not None
        boxes = visible_boxes(images.segmentation)
        middle[name] = {k: np.array(boxes[v][0][:2]) + np.array(boxes[v][0][2:]) / 2 for k, v in labels.items()}
    assert middle["overhead"]["link"][1] > middle["overhead"]["box"][1], "the robot is at the bottom"
    assert middle["overhead"]["ball"][0] < middle["overhead"]["box"][0], "what is at its left is at the left"
    assert middle["front"]["ball"][0] > middle["front"]["box"][0], "seen from the other side"


def test_a_file_that_is_no_mjcf_is_refused(tmp_path: Path) -> None:
    for text in ("<mujoco", "<mujoco/>"):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(InputError):
            add_cameras(tmp_path / "a.xml", Pose(), [])
