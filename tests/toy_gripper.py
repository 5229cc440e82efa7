"""An arm of one hinge with a parallel gripper that holds a box: small enough to check forces by hand."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from blueprint.model.artifacts import Episodes, TaskSet, Workcell
from blueprint.model.episode import Attempt, EpisodeRecord
from blueprint.model.scene import Gripper, RobotArm, SceneBody
from blueprint.model.spatial import Pose
from blueprint.model.task import Goal, Task

MASS_KG, ARM_KG, REACH_M, GRIP_N = 0.3, 0.2, 0.4, 20.0
FPS = 15

MJCF = f"""<mujoco model="toy_gripper">
  <option timestep="{1 / 480}" cone="elliptic" impratio="50" integrator="implicitfast"/>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 0.1" group="2"/>
    <camera name="scene" pos="{REACH_M} -0.5 0.8" xyaxes="1 0 0 0 0.55 0.83" fovy="45"/>
    <camera name="side" pos="{REACH_M} 0.6 0.7" xyaxes="-1 0 0 0 -0.3 0.95" fovy="45"/>
    <light pos="0.4 -0.5 2" dir="0 0.2 -1"/>
    <body name="base" pos="0 0 0.5">
      <body name="link"><joint name="shoulder" axis="0 -1 0" damping="1"/>
        <geom type="capsule" size="0.01" fromto="0.05 0 0 0.3 0 0" mass="{ARM_KG}" contype="0" conaffinity="0"/>
        <body name="hand" pos="0.3 0 0">
          <geom type="box" size="0.01 0.05 0.01" mass="0.1" contype="0" conaffinity="0"/>
          <camera name="wrist" pos="-0.05 0 0.06" xyaxes="0 -1 0 0.4 0 0.9" fovy="70"/>
          <site name="tool" pos="{REACH_M - 0.3} 0 0" euler="0 90 0"/>
          <body name="left"><joint name="left" type="slide" axis="0 1 0" range="-0.01 0.05"/>
            <geom type="box" size="0.012 0.004 0.01" pos="{REACH_M - 0.3} 0.004 0" mass="0.02" condim="4" priority="1"
              friction="1 0.01 0.0001" solref="0.006 1" solimp="0.95 0.99 0.001 0.5 2"/></body>
          <body name="right"><joint name="right" type="slide" axis="0 -1 0" range="-0.01 0.05"/>
            <geom type="box" size="0.012 0.004 0.01" pos="{REACH_M - 0.3} -0.004 0" mass="0.02" condim="4" priority="1"
              friction="1 0.01 0.0001" solref="0.006 1" solimp="0.95 0.99 0.001 0.5 2"/></body>
        </body>
      </body>
    </body>
    <body name="box" pos="{REACH_M} 0 0.5"><freejoint name="box"/>
      <geom type="box" size="0.02 0.02 0.02" mass="{MASS_KG}"/></body>
    <body name="ball" pos="1 0.5 1.5"><freejoint name="ball"/><geom type="sphere" size="0.03" mass="0.1"/></body>
  </worldbody>
  <tendon><fixed name="split"><joint joint="left" coef="0.5"/><joint joint="right" coef="0.5"/></fixed></tendon>
  <equality><joint joint1="left" joint2="right" solimp="0.95 0.99 0.001" solref="0.005 1"/></equality>
  <actuator>
    <position name="shoulder" joint="shoulder" kp="400" kv="10"/>
    <position name="grip" tendon="split" kp="5000" kv="50" forcerange="{-2 * GRIP_N} {2 * GRIP_N}"/>
  </actuator>
  <keyframe><key name="start" qpos="0 0.0201 0.0201 {REACH_M} 0 0.5 1 0 0 0 1 0.5 1.5 1 0 0 0" ctrl="0 0.0"/></keyframe>
</mujoco>"""


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workcell.xml").write_text(MJCF)
    return folder / "workcell.xml"


def arm() -> RobotArm:
    gripper = Gripper(
        site="tool",
        actuator="grip",
        finger_joints=("left", "right"),
        finger_bodies=("left", "right"),
        max_opening_m=0.1,
        finger_depth_m=0.05,
        open_ctrl=0.05,
        closed_ctrl=0.0,
    )
    return RobotArm(
        name="toy",
        title="Toy",
        joints=("shoulder",),
        actuators=("shoulder",),
        home=(0.0,),
        velocity_limits=(2.0,),
        acceleration_limits=(10.0,),
        jerk_limits=(100.0,),
        gripper=gripper,
        base=Pose(),
        source="tests/toy_gripper.py",
        licence="Apache-2.0",
    )


def held(model: Path, frames: int = 30) -> dict[str, np.ndarray]:
    """States of `frames` frames in which the gripper closes on the box and lifts it a little, as a rollout keeps them;
    `contacts`, `forces`: of the simulation itself."""
    from blueprint.backends.simulator_mujoco import SimulatorMujoco

    simulation = SimulatorMujoco().open(model)
    rows: dict[str, list] = {name: [] for name in ("qpos", "qvel", "ctrl", "contacts", "forces")}
    for t in range(frames):
        rows["qpos"].append(simulation.qpos)
        rows["qvel"].append(simulation.qvel)
        rows["ctrl"].append(np.array([0.3 * min(t / 10, 1.0), 0.012]))  # fingers blocked 8 mm short of it: full force
        for a, b, distance, force in simulation.contacts():
            if distance < 1e-4 or force > 0:
                rows["contacts"].append((t, a, b))
                rows["forces"].append(force)
        simulation.advance(rows["ctrl"][-1], 1 / FPS)
    simulation.close()
    return {name: np.array(values) for name, values in rows.items()}


def body(name: str) -> int:
    return int(mujoco.MjModel.from_xml_string(MJCF).body(name).id)


def make_workcell(out: Path) -> Workcell:
    write(out)
    bodies = tuple(
        SceneBody(
            name=name,
            text=name,
            category="carton" if name == "box" else "",
            prim_path=f"/{name}",
            mass_kg=mass,
            dims_m=(0.04, 0.04, 0.04),
            pose=Pose(),
            collider_count=1,
        )
        for name, mass in (("box", MASS_KG), ("ball", 0.1))
    )
    table = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0))
    return Workcell(
        robot=arm(),
        bodies=bodies,
        cameras=("scene", "wrist"),
        more_cameras=("side",),
        table_polygon=table,
        reachable={"box": True},
    ).save(out)


def make_taskset(out: Path) -> TaskSet:
    tasks = (Task(id="lift", object="box", goal=Goal(family="lift", height_m=0.1), instruction="lift the box"),)
    return TaskSet(tasks=tasks, refused={}).save(out)


def make_episodes(out: Path, workcell: Workcell, taskset: TaskSet, frames: int = 8, count: int = 2) -> Episodes:
    """The same lift `count` times, and one failed attempt before the second one's success."""
    states = held(workcell.path(workcell.mjcf), frames)
    state = np.column_stack([states["qpos"][:, 0], states["qpos"][:, 1:3].sum(axis=1)]).astype(np.float32)
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "states.npz", **states, state=state, action=state, segment=(np.arange(frames) > 3).astype(np.int8))
    done = Attempt(success=True, cause=None, detail="", checks=(), seconds=frames / FPS)
    failed = done.model_copy(
        update={"success": False, "cause": "dropped", "detail": "slipped", "states": "states.npz", "frames": frames}
    )
    records = tuple(
        EpisodeRecord(
            index=index,
            task=taskset.tasks[0],
            seed=0,
            success=True,
            attempts=(done,) if index != 1 else (failed, done),
            states="states.npz",
            frames=frames,
            grasp_class="side",
        )
        for index in range(count)
    )
    return Episodes(
        fps=FPS, simulator="mujoco", segments=("grasp", "lift"), state_names=("shoulder", "gripper"), episodes=records
    ).save(out)
