"""Scripted Lift and PickPlaceCan in robosuite, timed. Stand-alone: run by an interpreter that has robosuite 1.5.2.

    PYTHON robosuite_scripted.py EPISODES SEED

robosuite's own defaults (Panda, OSC_POSE, 2 ms steps), 20 Hz, no camera, no renderer. Prints, per task, a line
`RESULT {json}` with CPU seconds (user and system, of the whole process): of everything, and of `env.step` alone. An
environment step is one control period of 50 ms. Compiling (numba) and importing are done before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time

import mujoco
import numpy as np
import robosuite

HZ, HORIZON, MOST = 20, 500, 60  # control steps: of an episode, on the way to one place
STEP_M = 0.05  # what action 1 means to OSC_POSE
ARRIVED_M, ABOVE_M, LIFTED_M = 0.008, 0.12, 0.12
OPEN, CLOSE = -1.0, 1.0
TASKS = {"Lift": "cube", "PickPlaceCan": "Can"}


class Clock:
    """CPU seconds spent in `env.step`, and how many there were."""

    def __init__(self, env):
        self.env, self.steps, self.seconds = env, 0, 0.0

    def step(self, action):
        start = time.process_time()
        obs, _, done, _ = self.env.step(action)
        self.seconds += time.process_time() - start
        self.steps += 1
        return obs, done


def raised(place, height):
    return place + np.array([0.0, 0.0, height])


def run_episode(clock, name, obs):
    """Whether the scripted policy succeeded by robosuite's own test."""
    thing = f"{TASKS[name]}_pos"
    start = obs[thing].copy()
    places = [(raised(start, ABOVE_M), OPEN, 0), (start, OPEN, 0), (start, CLOSE, 8)]
    places.append((raised(start, LIFTED_M if name == "Lift" else 0.25), CLOSE, 0))
    if name == "PickPlaceCan":
        env = clock.env
        bin_ = np.array(env.target_bin_placements[env.object_to_id["can"]])
        places += [(raised(bin_, 0.3), CLOSE, 0), (raised(bin_, 0.12), CLOSE, 0)]
        places += [(raised(bin_, 0.12), OPEN, 6), (raised(bin_, 0.35), OPEN, 0)]
    for place, gripper, hold in places:
        held = 0
        while True:
            error = place - obs["robot0_eef_pos"]
            if held >= MOST or (held >= hold and (hold or np.linalg.norm(error) < ARRIVED_M)):
                break
            action = np.zeros(7)
            action[:3] = np.clip(error / STEP_M, -1, 1)
            action[6] = gripper
            obs, done = clock.step(action)
            held += 1
            if done:
                return False
    return bool(clock.env._check_success())


def measure(name, episodes, seed):
    env = robosuite.make(
        name,
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        control_freq=HZ,
        horizon=HORIZON,
        seed=seed,
        hard_reset=False,
    )
    run_episode(Clock(env), name, env.reset())
    clock, good = Clock(env), 0
    start = time.process_time()
    for _ in range(episodes):
        good += run_episode(clock, name, env.reset())
    whole = time.process_time() - start
    env.close()
    return {
        "task": name,
        "robosuite": robosuite.__version__,
        "mujoco": mujoco.__version__,
        "episodes": episodes,
        "successes": good,
        "steps": clock.steps,
        "cpu_s": whole,
        "step_cpu_s": clock.seconds,
    }


def main():
    episodes, seed = int(sys.argv[1]), int(sys.argv[2])
    for name in TASKS:
        print("RESULT", json.dumps(measure(name, episodes, seed)), flush=True)


if __name__ == "__main__":
    main()
