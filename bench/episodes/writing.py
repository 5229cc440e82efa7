"""Writing a dataset: pictures that lie in memory -> encoded -> LeRobot files; and whether it slows down as it grows.

A frame is one time step with the pictures of all cameras (2 of 640x480, RGB, H.264 as `recording` writes it). Measured
is everything from the arrays to a dataset that is complete: encoding and colour statistics, one process per core, each
an episode at a time, then the dataset and its sidecar. Drawing is not part of it; the pictures are drawn before, once,
and shared by all episodes. Of three rounds the fastest counts: other programs only ever add time.

Growth: 1,000 episodes of 5 frames, 2 cameras of 32x32, by the dataset stage's own two writers in one go. The CPU
time of each episode is taken as a writer asks for the next; episodes 901-1,000 against 1-100. What is left to do at the
end (statistics, closing files) is spread over all episodes, and compared with that of 100 alone.

python -m bench.bars_episodes writing
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from bench.rows import Row
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.core.execute import map_items
from blueprint.formats.lerobot.sidecar import SIDECAR, write_sidecar
from blueprint.formats.lerobot.stats import sampled_frames
from blueprint.formats.lerobot.writer import DatasetSpec, EpisodeData, VideoFeature, write_dataset
from blueprint.geometry.sensor_noise import noisy_color
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.capture import Camera
from blueprint.model.episode import EpisodeRecord, RecordedEpisode
from blueprint.model.variation import SensorNoise
from blueprint.stages.dataset import DatasetConfig, dataset
from blueprint.stages.recording import RecordingConfig
from blueprint.stages.recording.tracks import ColorTrack

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import toy_episodes

FPS = 15
FRAMES, EPISODES = 90, 12  # 6 s each
SIZE, CAMERAS = (640, 480), ("scene", "wrist")
FRAMES_PER_S, GROWTH = 250.0, 0.05
MANY, FEW, TINY = 1000, 100, 5


def rows() -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        yield from written(Path(scratch))
        yield growth(Path(scratch))


# ------------------------------------------------------------------ frames per second


def written(folder: Path) -> Iterator[Row]:
    workcell = toy_episodes.make_workcell(folder / "workcell")
    taskset = toy_episodes.make_taskset(folder / "taskset")
    episodes = toy_episodes.make_episodes(folder / "episodes", workcell, taskset, lengths=(FRAMES,) * EPISODES)
    chosen = [record for record in episodes.episodes if record.success]
    clean = drawn(workcell, episodes, chosen[0])
    cores = len(os.sched_getaffinity(0))
    for name, pictures, bound in (("", clean, True), (", with a sensor's grain", [grainy(f) for f in clean], False)):
        rounds = []
        for turn in range(3):
            place = folder / f"{len(name)}_{turn}"
            cpu, start = cpu_seconds(), time.perf_counter()
            recorded = encoded(place / "recording", pictures, chosen)
            licences = toy_episodes.make_licences()
            dataset.function(workcell, taskset, episodes, recorded, licences, DatasetConfig(), place / "dataset")
            rounds.append((time.perf_counter() - start, cpu_seconds() - cpu))
        wall, cpu = (min(column) for column in zip(*rounds, strict=True))
        frames = FRAMES * EPISODES
        said = f"{frames / wall:.0f} on {cores} cores; {frames / cpu:.0f} per CPU-second"
        passed = frames / wall >= FRAMES_PER_S if bound else None
        yield Row(f"frames/s written, 2 x 640x480 RGB{name}", said, f">= {FRAMES_PER_S:.0f}" if bound else "", passed)


def cpu_seconds() -> float:
    """Of this process and its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def drawn(workcell: Workcell, episodes: Episodes, record: EpisodeRecord) -> list[dict[str, np.ndarray]]:
    """Camera -> picture, of every frame of one episode."""
    with np.load(episodes.path(record.states or "")) as states:
        qpos = states["qpos"]
    frames = RendererMujoco().render(
        workcell.path(workcell.mjcf), qpos, workcell.cameras, *SIZE, depth=False, segmentation=False, samples=2
    )
    return [{name: frame[own].color for name, own in zip(CAMERAS, workcell.cameras, strict=True)} for frame in frames]


def grainy(frame: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As a camera in a dim room sees it: half the look's noise at level high, new in every frame."""
    rng = np.random.default_rng(frame[CAMERAS[0]].sum())
    return {name: noisy_color(picture, SensorNoise(shot=0.011, read=0.006), rng) for name, picture in frame.items()}


def encoded(
    out: Path, pictures: list[dict[str, np.ndarray]], chosen: list[EpisodeRecord], size: tuple[int, int] = SIZE
) -> Recording:
    """A recording of `pictures` for every episode."""
    items = [(f"{record.index:06d}", record) for record in chosen]
    cfg = RecordingConfig(width=size[0], height=size[1], depth=False, segmentation=False)
    folders = map_items(partial(encode, pictures, cfg), items, out / "episodes", what="encoding")
    made = tuple(RecordedEpisode.model_validate_json((f / "episode.json").read_bytes()) for f in folders)
    return recording_of(made, size).save(out)


def encode(pictures: list[dict[str, np.ndarray]], cfg: RecordingConfig, record: EpisodeRecord, folder: Path) -> None:
    counted = set(sampled_frames(len(pictures)).tolist())
    with ExitStack() as files:
        tracks = {name: ColorTrack(files, folder, name, FPS, cfg, (cfg.width, cfg.height)) for name in CAMERAS}
        for t, frame in enumerate(pictures):
            for name, track in tracks.items():
                track.add_color(frame[name], counted=t in counted)
    where = f"episodes/{record.index:06d}"
    poses(folder, len(pictures))
    summaries = tuple(track.summary(where) for track in tracks.values())
    done = RecordedEpisode(index=record.index, frames=len(pictures), tracks=summaries, poses=f"{where}/poses.npz")
    (folder / "episode.json").write_text(done.model_dump_json())


def poses(folder: Path, frames: int) -> None:
    identity = np.tile([0.0, 0, 0, 1, 0, 0, 0], (frames, 1, 1))
    bodies, cameras = identity.repeat(len(BODIES), axis=1), identity.repeat(len(CAMERAS), axis=1)
    np.savez(folder / "poses.npz", body_poses=bodies, camera_poses=cameras)


BODIES = ("world", *toy_episodes.BODIES, "left_finger", "right_finger")


def recording_of(made: tuple[RecordedEpisode, ...], size: tuple[int, int]) -> Recording:
    width, height = size
    camera = Camera(width=width, height=height, fx=width, fy=width, cx=width / 2, cy=height / 2)
    return Recording(
        fps=FPS,
        width=width,
        height=height,
        renderer="bench",
        sensor_source="mujoco",
        codec="h264",
        streams=("object_poses", "extrinsics"),
        segment_names=dict(enumerate(BODIES)),
        cameras=(camera, camera),
        episodes=made,
    )


# ------------------------------------------------------------------ growth


class Stamped(list):
    """A list that notes when each of its items is asked for."""

    def __init__(self, items: Iterable) -> None:
        super().__init__(items)
        self.times: list[float] = []

    def __iter__(self) -> Iterator:
        for item in super().__iter__():
            self.times.append(time.process_time())
            yield item
        self.times.append(time.process_time())


def growth(folder: Path) -> Row:
    """The median of three rounds."""
    workcell = toy_episodes.make_workcell(folder / "tiny/workcell")
    taskset = toy_episodes.make_taskset(folder / "tiny/taskset")
    episodes = toy_episodes.make_episodes(folder / "tiny/episodes", workcell, taskset, lengths=(TINY,))
    record = episodes.episodes[0]
    pictures = [{name: np.full((32, 32, 3), t, np.uint8) for name in CAMERAS} for t in range(TINY)]
    recorded = encoded(folder / "tiny/recording", pictures, [record], (32, 32))
    found = []
    for turn in range(3):
        early, late, last = timed(folder / f"tiny/{turn}/many", workcell, episodes, recorded, MANY)
        _, _, few = timed(folder / f"tiny/{turn}/few", workcell, episodes, recorded, FEW)
        found.append((late + last / MANY) / (early + few / FEW) - 1)
    middle = float(np.median(found))
    said = f"{100 * middle:+.1f} % (rounds {', '.join(f'{100 * f:+.1f}' for f in found)})"
    return Row("time per episode, 901st-1,000th against 1st-100th", said, f"<= {100 * GROWTH:.0f} %", middle <= GROWTH)


def timed(
    root: Path, workcell: Workcell, episodes: Episodes, recorded: Recording, count: int
) -> tuple[float, float, float]:
    """Seconds per episode at the beginning and at the end (of `FEW`), and seconds left when all are written.

    `count` times the same episode, through the two writers of the dataset stage."""
    one, record = recorded.episodes[0], episodes.episodes[0]
    states = np.load(episodes.path(record.states or ""))
    state, action = states["state"], states["action"]
    tracks = {f"observation.images.{track.camera}": track for track in one.tracks}
    stats = {
        key: {name: np.array(value) for name, value in track.color_stats.items()} | {"count": np.array([TINY])}
        for key, track in tracks.items()
    }
    videos = {key: recorded.path(track.video) for key, track in tracks.items()}
    spec = DatasetSpec(
        fps=FPS,
        robot_type="toy",
        state_names=episodes.state_names,
        action_names=episodes.state_names,
        videos=tuple(VideoFeature(key, 32, 32, "h264") for key in videos),
        tasks=(record.task.instruction,),
    )
    data = Stamped([EpisodeData(record.task.instruction, state, action, videos, stats)] * count)
    write_dataset(root, spec, data)
    ended = time.process_time() - data.times[-1]
    pairs = Stamped([(one, record)] * count)
    write_sidecar(root / SIDECAR, workcell, episodes, recorded, pairs)
    # the sidecar deals its splits from the pairs too: its first pass writes the episodes
    each = [np.diff(stamps.times[: count + 1]) for stamps in (data, pairs)]
    return sum(calm(e[:FEW]) for e in each), sum(calm(e[-FEW:]) for e in each), ended


def calm(values: np.ndarray) -> float:
    """The time that a tenth of them keep below: other programs only ever add to it, a writer that slows down too."""
    return float(np.quantile(values, 0.1))
