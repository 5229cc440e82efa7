"""Toy artifacts downstream of planning: a workcell of primitives with a 7-joint arm, and made-up episodes."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from blueprint.model.artifacts import Episodes, Licences, TaskSet, Workcell
from blueprint.model.episode import Attempt, EpisodeRecord
from blueprint.model.scene import Gripper, RobotArm, SceneBody
from blueprint.model.spatial import Pose
from blueprint.model.task import Goal, Task

FPS = 15
JOINTS = tuple(f"joint{i}" for i in range(1, 8))
STATE_NAMES = (*JOINTS, "gripper")
HOME = (0.0, 0.4, 0.0, -1.8, 0.0, 2.2, 0.0)
SEGMENTS = ("reach", "grasp", "place")
BODIES = {"red_box": (0.03, 0.03, 0.04), "blue_box": (0.02, 0.04, 0.03)}
COLORS = {"red_box": "0.8 0.15 0.1 1", "blue_box": "0.1 0.25 0.8 1"}


def mjcf() -> str:
    links = ""
    for i, axis in enumerate(("0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1"), start=1):
        offset = "0 0 0.15" if i == 1 else "0 0 0.12"
        links += f"""<body name="link{i}" pos="{offset}"><joint name="joint{i}" axis="{axis}" range="-2.9 2.9"/>
          <geom type="capsule" size="0.035" fromto="0 0 0 0 0 0.1" mass="1" rgba="0.9 0.9 0.92 1"/>"""
    fingers = "".join(
        f"""<body name="{side}_finger" pos="0 0 0.13"><joint name="{side}_joint" type="slide" axis="0 {sign} 0"
          range="0 0.04"/><geom type="box" size="0.008 0.006 0.03" pos="0 {sign * 0.006} 0.03" mass="0.05"/></body>"""
        for side, sign in (("left", 1), ("right", -1))
    )
    objects = "".join(
        f"""<body name="{name}" pos="{0.35 + 0.15 * k} {0.1 - 0.2 * k} {size[2]}"><freejoint name="{name}"/>
          <geom type="box" size="{size[0]} {size[1]} {size[2]}" mass="0.2" rgba="{COLORS[name]}"/></body>"""
        for k, (name, size) in enumerate(BODIES.items())
    )
    actuators = "".join(f'<position name="act{i}" joint="joint{i}" kp="100"/>' for i in range(1, 8))
    return f"""<mujoco model="toy_workcell">
  <statistic extent="1" center="0.3 0 0.2"/>
  <visual><map znear="0.01" zfar="20"/><headlight ambient="0.3 0.3 0.3" diffuse="0.4 0.4 0.4"/></visual>
  <asset>
    <texture name="wood" type="2d" builtin="checker" rgb1="0.7 0.55 0.4" rgb2="0.55 0.4 0.3" width="128" height="128"/>
    <texture type="skybox" builtin="gradient" rgb1="0.8 0.85 0.9" rgb2="0.4 0.45 0.5" width="64" height="64"/>
    <material name="wood" texture="wood" texrepeat="8 8" texuniform="true"/>
  </asset>
  <worldbody>
    <light pos="0.5 -0.5 2" dir="-0.2 0.2 -1" diffuse="0.6 0.6 0.6"/>
    <light pos="0 1 2" dir="0 -0.4 -1" diffuse="0.3 0.3 0.3"/>
    <camera name="scene" pos="1.25 0 0.75" xyaxes="0 1 0 -0.5 0 0.85" fovy="45"/>
    <geom name="table" type="box" pos="0.4 0 -0.02" size="0.6 0.6 0.02" material="wood"/>
    <body name="base"><geom type="cylinder" size="0.06 0.07" pos="0 0 0.07" rgba="0.3 0.3 0.35 1"/>{links}
      <body name="hand" pos="0 0 0.1"><camera name="robot/wrist" pos="0.06 0 0.02" xyaxes="0 1 0 1 0 0" fovy="70"/>
        <geom type="box" size="0.02 0.08 0.02" pos="0 0 0.1" mass="0.3" rgba="0.2 0.2 0.2 1"/>
        <site name="tool" pos="0 0 0.19"/>{fingers}</body>{"</body>" * 7}
    </body>{objects}
  </worldbody>
  <equality><joint joint1="left_joint" joint2="right_joint"/></equality>
  <actuator>{actuators}<position name="grip" joint="left_joint" kp="100"/></actuator>
</mujoco>"""


def make_workcell(out: Path) -> Workcell:
    out.mkdir(parents=True, exist_ok=True)
    (out / "workcell.xml").write_text(mjcf())
    gripper = Gripper(
        site="tool",
        actuator="grip",
        finger_joints=("left_joint", "right_joint"),
        finger_bodies=("left_finger", "right_finger"),
        max_opening_m=0.08,
        finger_depth_m=0.06,
        open_ctrl=0.04,
        closed_ctrl=0.0,
    )
    robot = RobotArm(
        name="toy_arm",
        title="Toy Arm",
        joints=JOINTS,
        actuators=tuple(f"act{i}" for i in range(1, 8)),
        home=HOME,
        velocity_limits=(2.0,) * 7,
        acceleration_limits=(10.0,) * 7,
        jerk_limits=(100.0,) * 7,
        gripper=gripper,
        base=Pose(),
        source="tests/toy_episodes.py",
        licence="Apache-2.0",
    )
    bodies = tuple(
        SceneBody(
            name=name,
            text=name.replace("_", " "),
            prim_path=f"/scene/{name}",
            mass_kg=0.2,
            dims_m=tuple(2 * s for s in size),  # type: ignore[arg-type]
            pose=Pose(),
            collider_count=1,
        )
        for name, size in BODIES.items()
    )
    return Workcell(
        robot=robot,
        bodies=bodies,
        cameras=("scene", "robot/wrist"),
        table_polygon=((-0.2, -0.6), (1.0, -0.6), (1.0, 0.6), (-0.2, 0.6)),
        reachable=dict.fromkeys(BODIES, True),
    ).save(out)


def make_licences() -> Licences:
    """Of data that was made from nothing, so nothing permits anything."""
    return Licences(inputs=(), commercial_use="unknown")


def make_taskset(out: Path) -> TaskSet:
    tasks = tuple(
        Task(id=f"lift_{name}", object=name, goal=Goal(family="lift", height_m=0.1), instruction=f"lift the {text}")
        for name, text in ((name, name.replace("_", " ")) for name in BODIES)
    )
    return TaskSet(tasks=tasks, refused={"place_on_blue_box": "too small"}).save(out)


def make_episodes(out: Path, workcell: Workcell, taskset: TaskSet, lengths: tuple[int, ...] = (20, 12, 31)) -> Episodes:
    """One successful episode per length, the arm waving and the task's box floating up; one failure as the second."""
    model = mujoco.MjModel.from_xml_path(str(workcell.path(workcell.mjcf)))
    (out / "states").mkdir(parents=True, exist_ok=True)
    records, successes = [], 0
    for index in range(len(lengths) + 1):
        success = index != 1
        task = taskset.tasks[(index // 2) % len(taskset.tasks)]
        frames = lengths[successes] if success else 9
        successes += success
        name = f"states/{index:06d}.npz"
        np.savez(out / name, **states(model, task.object, frames, seed=index))
        attempt = Attempt(
            success=success, cause=None if success else "dropped", detail="", checks=(), seconds=frames / FPS
        )
        records.append(
            EpisodeRecord(
                index=index,
                task=task,
                seed=index,
                success=success,
                attempts=(attempt,),
                states=name,
                frames=frames,
                grasp_class="top",
            )
        )
    return Episodes(
        fps=FPS, simulator="made up", segments=SEGMENTS, state_names=STATE_NAMES, episodes=tuple(records)
    ).save(out)


def states(model: mujoco.MjModel, lifted: str, frames: int, *, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    phase = np.linspace(0, 1, frames + 1)[:, None]
    arm = np.array(HOME) + 0.4 * np.sin(2 * np.pi * (phase + rng.random(7)) * rng.uniform(0.3, 1.0, 7))
    opening = 0.04 * (1 - phase)
    qpos = np.tile(model.qpos0, (frames + 1, 1))
    qpos[:, [model.joint(name).qposadr[0] for name in JOINTS]] = arm
    qpos[:, [model.joint(f"{side}_joint").qposadr[0] for side in ("left", "right")]] = opening
    qpos[:, model.joint(lifted).qposadr[0] + 2] += 0.2 * phase[:, 0]
    values = np.concatenate([arm, 2 * opening], axis=1).astype(np.float32)
    return {
        "time": np.arange(frames) / FPS,
        "qpos": qpos[:-1],
        "qvel": np.zeros((frames, model.nv)),
        "ctrl": np.concatenate([arm, opening], axis=1)[:-1],
        "state": values[:-1],
        "action": values[1:],
        "segment": (np.arange(frames) * len(SEGMENTS) // frames).astype(np.int8),
        "contacts": np.zeros((0, 3), np.int32),
        "force": np.zeros(0),
    }
