"""Bars: a triple of colour, depth and labels, 640x480, ours against `mujoco.Renderer` as a user writes it.

python -m bench.bars_episodes render      or, with more: python -m bench.episodes.render [SCENE ...] [--keep DIR]

Both draw the states of one real episode of each scene, in processes of their own that take turns, so that a loaded
machine slows both. Timed are the pictures after the first (contexts, shaders and backgrounds are reported apart).
Peer: the same scene, meshes and textures with all of its own defaults: 4 samples, all of the model's lights and
shadows, a shadow map of 4096 (our workcells ask for 2048, which is one of our own means to be fast), and three draws
per picture. Told beside it: the peer with our shadow map (rows "our shadow map"), and the peer drawing the robot's
meshes as its makers ship them (rows "robot as shipped"), which ours are thinned-out copies of. Depth is held against
MuJoCo's ray casting (mj_ray; mj_multiRay of 3.17.0 misses the fingers before a wrist camera).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.rows import Row, captures
from bench.spine.dataset import folder_of
from bench.spine.settle import BOXED, scratch
from blueprint.model.artifacts import Episodes

SCENES = ("demo", "posecnn_ycb_1", "sixdof_cheezit", "sixdof_mustard", "sixdof_red_mug")
CAMERAS = ("scene", "wrist")
OTHERS = {"peer": "", "tuned": ", our shadow map", "shipped": ", robot as shipped"}  # side -> its rows
BOTH = "both"  # cameras of an episode in one go: they share its shadow map
WIDTH, HEIGHT = 640, 480
ROUNDS, PEER_STATES = 3, 8  # turns of each; states of the episode that the peer draws in a turn
RAYS_EVERY = 8  # pixels, in both directions
FASTER, IOU, DEPTH_M, SSIM = 25.0, 0.999, 1e-3, 0.95


def rows(names: Sequence[str] = SCENES, keep: Path | None = None) -> Iterable[Row]:
    found: list[Found] = []
    for name in names:
        made = episode(name, (keep or scratch()) / "render" / name)
        if made is None:
            yield Row(f"render {name}", "no episode: see what its stages say above", "", passed=None)
            continue
        found.append(compare(*made))
        yield from _of_scene(name, found[-1])
    if not found:
        return
    lines = {
        "segmentation IoU, mean over bodies": (min(one.iou["peer"][0] for one in found), IOU, False),
        "depth against ray casting, median": (max(one.depth["peer"][0] for one in found), DEPTH_M, True),
        "colour, SSIM": (min(one.ssim["peer"] for one in found), SSIM, False),
    }
    for what, (value, bound, below) in lines.items():
        sign, good = ("<=", value <= bound) if below else (">=", value >= bound)
        yield Row(f"render: {what}, worst scene", f"{value:.5f}", f"{sign} {bound:g}", good)


@dataclass
class Found:
    """times: (clock, side, camera) -> [s] per triple, of the sides of `OTHERS` and `ours`.

    iou: side -> mean and worst of all bodies in all pictures; ssim: side -> mean
    depth: side whose model is cast rays into -> median and 99th percentile of the error [m]
    """

    times: dict[tuple[str, str, str], float]
    first_s: float
    iou: dict[str, tuple[float, float]]
    ssim: dict[str, float]
    depth: dict[str, tuple[float, float]]

    def faster(self, clock: str, side: str, camera: str = BOTH) -> float:
        """Time of a triple, theirs over ours; of one episode drawn by both cameras unless one is named."""
        return self.times[clock, side, camera] / self.times[clock, "ours", camera]


def _of_scene(name: str, one: Found) -> Iterable[Row]:
    for side, camera in ((side, camera) for side in OTHERS for camera in (*CAMERAS, BOTH)):
        (cpu, wall), (our_cpu, our_wall) = (
            [1e3 * one.times[clock, who, camera] for clock in ("cpu", "wall")] for who in (side, "ours")
        )
        judged = side == "peer" and camera == BOTH
        yield Row(
            f"render {name}, {camera}{OTHERS[side]}: triple, CPU (wall)",
            f"{one.faster('cpu', side, camera):.1f}x ({one.faster('wall', side, camera):.1f}x)",
            f"{'>= 25x; ' if judged else ''}{cpu:.1f} -> {our_cpu:.2f} ms CPU, {wall:.1f} -> {our_wall:.2f} ms wall",
            passed=one.faster("cpu", side) >= FASTER if judged else None,
        )
    for side in ("peer", "shipped"):
        mean, worst = one.iou[side]
        median, p99 = one.depth[side]
        yield Row(
            f"render {name}{OTHERS[side]}: IoU mean (worst body), SSIM",
            f"{mean:.5f} ({worst:.4f}), {one.ssim[side]:.3f}",
            f"depth {median * 1e3:.4f} mm median, {p99 * 1e3:.3f} mm p99; first picture {one.first_s:.2f} s",
            passed=None,
        )


# ------------------------------------------------------------------ scenes


def episode(name: str, folder: Path) -> tuple[Path, Path] | None:
    """Model and states of one successful episode, by the product's own run; None when there is none."""
    scene = folder / "scene"
    if name == "demo":
        from blueprint.apps.demo import make_capture

        capture = make_capture(folder / "capture", 0)
    else:
        capture = captures() / name
    sets = ["episodes.count=2", *(["reconstruction.boxes=boxes.json"] if name in BOXED else [])]
    command = [sys.executable, "-m", "blueprint.apps.cli", "run", str(capture), "--scene", str(scene)]
    options = ["--simulator", "mujoco", "--until", "episodes", *(part for one in sets for part in ("--set", one))]
    if subprocess.run([*command, *options], check=False).returncode:
        return None
    made = Episodes.load(folder_of(scene, "episodes"))
    good = next((record for record in made.episodes if record.success and record.states is not None), None)
    if good is None or good.states is None:
        return None
    return folder_of(scene, "workcell") / "workcell.xml", made.path(good.states)


def untuned(model: Path) -> Path:
    """The same workcell with MuJoCo's own drawing quality."""
    there = scratch() / "untuned" / model.parent.name
    shutil.copytree(model.parent, there, dirs_exist_ok=True)
    tree = ET.parse(model)
    for visual in tree.getroot().iter("visual"):
        for quality in visual.findall("quality"):
            visual.remove(quality)
    tree.write(there / model.name)
    return there / model.name


def as_shipped(model: Path) -> Path:
    """The same workcell with the robot's meshes as its makers ship them."""
    whole = _whole_robot()
    there = whole.parent / "workcells" / model.parent.name
    shutil.copytree(model.parent, there, dirs_exist_ok=True)
    for mesh in ET.parse(model).getroot().iter("mesh"):
        owner, _, name = str(mesh.get("name") or "").rpartition("/")
        original = next(iter(whole.rglob(f"{name}.obj")), None)
        if owner == "robot" and original is not None:
            shutil.copyfile(original, there / "assets" / str(mesh.get("file")))
    return there / model.name


@cache
def _whole_robot() -> Path:
    from blueprint.backends.robots import registry as robots

    os.environ["BLUEPRINT_HOME"] = str(scratch() / "shipped")
    thin, robots.decimate = robots.decimate, lambda file, faces: None
    try:
        return robots.install("franka_panda").folder
    finally:
        robots.decimate = thin
        del os.environ["BLUEPRINT_HOME"]


# ------------------------------------------------------------------ both sides


class _Drawer:
    """A process that draws when asked."""

    def __init__(self, side: str, model: Path, states: Path) -> None:
        command = [sys.executable, "-m", "bench.episodes.render", "--draw", side, str(model), str(states)]
        self.side = side
        # the peer keeps Mesa's threads, whatever this process has set for itself
        clean = {name: value for name, value in os.environ.items() if name != "LP_NUM_THREADS"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean)

    def turn(self, camera: str, keep: Path | None = None) -> dict[str, float]:
        """Seconds per triple by both clocks, and of the first picture. keep: where to put some pictures."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([camera, None if keep is None else str(keep)]) + "\n")
        self._process.stdin.flush()
        while not (line := self._process.stdout.readline()).startswith("{"):
            if not line:
                raise RuntimeError(f"the {self.side} drawer died")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(model: Path, states: Path) -> Found:
    plain = untuned(model)
    models = {"peer": plain, "tuned": model, "shipped": as_shipped(plain)}
    drawers = {side: _Drawer("peer", file, states) for side, file in models.items()}
    drawers["ours"] = _Drawer("ours", model, states)
    times: dict[tuple[str, str, str], float] = {}
    first, files = 0.0, {(side, camera): scratch() / f"{side}_{camera}.npz" for side in drawers for camera in CAMERAS}
    for camera in (*CAMERAS, BOTH):
        turns: dict[str, list[dict[str, float]]] = {side: [] for side in drawers}
        for _ in range(ROUNDS):
            for side, drawer in drawers.items():
                turns[side].append(drawer.turn(camera, files.get((side, camera))))
        for side, some in turns.items():
            for clock in ("cpu", "wall"):
                times[clock, side, camera] = float(np.median([turn[clock] for turn in some]))
        first = max(first, turns["ours"][0]["first"])
    for drawer in drawers.values():
        drawer.close()
    ious: dict[str, list[float]] = {"peer": [], "shipped": []}
    likeness: dict[str, list[float]] = {"peer": [], "shipped": []}
    errors: dict[str, list[NDArray[np.float64]]] = {"peer": [], "shipped": []}
    for camera in CAMERAS:
        ours = dict(np.load(files["ours", camera]))
        for side in ious:
            theirs = dict(np.load(files[side, camera]))
            ious[side] += _ious(ours["labels"], theirs["labels"])
            likeness[side] += _likeness(ours["color"], theirs["color"])
        for side, some in errors.items():
            some.append(_ray_errors(models[side], states, camera, ours["depth"]))
    flat = {side: np.concatenate(some) for side, some in errors.items()}
    return Found(
        times,
        first,
        {side: (float(np.mean(some)), min(some)) for side, some in ious.items()},
        {side: float(np.mean(some)) for side, some in likeness.items()},
        {side: (float(np.median(some)), float(np.quantile(some, 0.99))) for side, some in flat.items()},
    )


def _ious(ours: NDArray[np.uint16], theirs: NDArray[np.uint16]) -> list[float]:
    """Of every body in every picture."""
    return [
        float(((a == body) & (b == body)).sum() / ((a == body) | (b == body)).sum())
        for a, b in zip(ours, theirs, strict=True)
        for body in np.union1d(a, b)
    ]


def _likeness(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> list[float]:
    from skimage.metrics import structural_similarity

    likeness: Any = structural_similarity  # a tuple only where more is asked for
    return [float(likeness(a, b, channel_axis=2)) for a, b in zip(ours, theirs, strict=True)]


def _sampled(states: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """qpos of the whole episode, and the indices of the states that both draw."""
    qpos = np.load(states, allow_pickle=False)["qpos"]
    return qpos, np.linspace(0, len(qpos) - 1, PEER_STATES + 1).astype(int)


def _ray_errors(model: Path, states: Path, camera: str, depth: NDArray[np.float32]) -> NDArray[np.float64]:
    """|depth - ray casting| [m] at every few pixels where both see something."""
    import mujoco

    from blueprint.backends.renderer_raster import RendererRaster

    qpos, chosen = _sampled(states)
    replay = RendererRaster().replay(model, qpos[chosen], (camera,), WIDTH, HEIGHT)
    lens = replay.cameras[0]
    m = mujoco.MjModel.from_xml_path(str(model))
    d = mujoco.MjData(m)
    v, u = np.mgrid[0:HEIGHT:RAYS_EVERY, 0:WIDTH:RAYS_EVERY]
    along = np.stack([(u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy, np.ones(u.shape)], axis=-1).reshape(-1, 3)
    length = np.linalg.norm(along, axis=1)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    errors = []
    for row, pose, picture in list(zip(qpos[chosen], replay.camera_poses[:, 0], depth, strict=True))[::2]:
        d.qpos[:] = row
        mujoco.mj_forward(m, d)
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, pose[3:])
        rays = (along / length[:, None]) @ rotation.reshape(3, 3).T
        geom, normal = np.empty(1, np.int32), np.zeros(3)
        hit = np.array([mujoco.mj_ray(m, d, pose[:3], ray, groups, 1, -1, geom, normal) for ray in rays])
        drawn = picture[v, u].ravel()
        both = (hit > 0) & (drawn > 0)
        errors.append(np.abs(drawn - hit / length)[both])
    return np.concatenate(errors)


# ------------------------------------------------------------------ in the drawers


def draw(side: str, model: Path, states: Path) -> None:
    """Answer every line [camera, file] of standard input with the times of one turn."""
    for line in sys.stdin:
        camera, kept = json.loads(line)
        turn, pictures = (_draw_peer if side == "peer" else _draw_ours)(model, states, camera)
        if kept is not None:
            np.savez(kept, **pictures)
        print(json.dumps(turn), flush=True)


def _draw_peer(model: Path, states: Path, camera: str) -> tuple[dict[str, float], dict[str, Any]]:
    os.environ.setdefault("MUJOCO_GL", "egl")
    import mujoco

    qpos, chosen = _sampled(states)
    m = mujoco.MjModel.from_xml_path(str(model))
    d = mujoco.MjData(m)
    color, depth, labels = [], [], []
    with mujoco.Renderer(m, HEIGHT, WIDTH) as renderer:
        clocks = []
        for row, view in ((row, view) for row in qpos[chosen] for view in (CAMERAS if camera == BOTH else (camera,))):
            clocks.append((time.process_time(), time.perf_counter()))
            d.qpos[:] = row
            mujoco.mj_kinematics(m, d)
            mujoco.mj_camlight(m, d)
            renderer.update_scene(d, view)
            color.append(renderer.render())
            renderer.enable_depth_rendering()
            renderer.update_scene(d, view)
            depth.append(renderer.render())
            renderer.disable_depth_rendering()
            renderer.enable_segmentation_rendering()
            renderer.update_scene(d, view)
            segments = renderer.render()
            renderer.disable_segmentation_rendering()
            geoms = (segments[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM)) & (segments[..., 0] >= 0)
            labels.append(np.where(geoms, m.geom_bodyid[np.maximum(segments[..., 0], 0)], 0).astype(np.uint16))
        clocks.append((time.process_time(), time.perf_counter()))
    return _turn(clocks, 1), {"color": color, "depth": depth, "labels": labels}


def _draw_ours(model: Path, states: Path, camera: str) -> tuple[dict[str, float], dict[str, Any]]:
    from blueprint.backends.renderer_raster import RendererRaster

    qpos, chosen = _sampled(states)
    renderer, cameras = RendererRaster(), CAMERAS if camera == BOTH else (camera,)
    renderer.replay(model, qpos[:1], cameras, WIDTH, HEIGHT)  # as the product does before it forks
    color, depth, labels = [], [], []
    clocks = [(time.process_time(), time.perf_counter())]
    for t, images in enumerate(renderer.render(model, qpos, cameras, WIDTH, HEIGHT, depth=True, segmentation=True)):
        if t in chosen and camera != BOTH:
            color.append(images[camera].color)
            depth.append(images[camera].depth)
            labels.append(images[camera].segmentation)
        clocks.append((time.process_time(), time.perf_counter()))
    return _turn(clocks, len(cameras)), {"color": color, "depth": depth, "labels": labels}


def _turn(clocks: list[tuple[float, float]], pictures: int) -> dict[str, float]:
    """Means per picture, of all but the first. pictures: between two readings of the clocks."""
    cpu, wall = (np.diff([one[k] for one in clocks]) / pictures for k in range(2))
    return {"cpu": float(cpu[1:].mean()), "wall": float(wall[1:].mean()), "first": float(cpu[0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=SCENES)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--draw", nargs=3, metavar=("SIDE", "MODEL", "STATES"), help="a drawer's process")
    asked = parser.parse_args()
    if asked.draw:
        draw(asked.draw[0], Path(asked.draw[1]), Path(asked.draw[2]))
        return
    for row in rows(tuple(asked.names), asked.keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
