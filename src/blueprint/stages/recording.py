"""Recording: draw the stored states of every successful episode, from every camera of the workcell."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.backends.protocols import Images, Renderer
from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError, IntegrityError
from blueprint.core.execute import map_items
from blueprint.core.stage import stage
from blueprint.formats.lerobot_stats import NAMES, ColorCounter, sampled_frames
from blueprint.formats.video import Codec, ColorWriter, GrayWriter, color_writer, gray_writer
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.episode import CameraTrack, EpisodeRecord, RecordedEpisode

TRACKS_FILE = "episode.json"
SECONDS_PER_PICTURE = 2.0  # far slower than the slowest software rasteriser seen: beyond it, something hangs


class RecordingConfig(Config):
    """width, height: pixels of every camera. crf: constant rate factor, None = the codec's usual.

    depth, segmentation: record them beside the colour
    max_depth_m: readings beyond become 0 (16-bit millimetres end at 65.535 m)
    samples: of the colour per pixel along each axis, averaged (anti-aliasing)
    """

    width: int = Field(default=224, ge=16, le=4096, multiple_of=2)
    height: int = Field(default=224, ge=16, le=4096, multiple_of=2)
    codec: Codec = "h264"
    crf: int | None = Field(default=None, ge=0, le=63)
    depth: bool = True
    segmentation: bool = True
    max_depth_m: float = Field(default=10.0, gt=0, le=65.535)
    samples: int = Field(default=2, ge=1, le=4)


@stage(version="1", timeout_s=24 * 3600.0)
def recording(workcell: Workcell, episodes: Episodes, renderer: Renderer, cfg: RecordingConfig, out: Path) -> Recording:
    """Replay states to pictures. Raises InfeasibleError when no episode succeeded."""
    chosen = [episode for episode in episodes.episodes if episode.success]
    if not chosen:
        raise InfeasibleError(
            "no episode succeeded, so there is nothing to record", "see why: blueprint why DIR episodes"
        )
    if len({track_name(camera) for camera in workcell.cameras}) != len(workcell.cameras):
        raise IntegrityError(f"camera names must differ in their last part: {', '.join(workcell.cameras)}")
    model = workcell.path(workcell.mjcf)
    # compiles the model here, once: the forked children inherit it
    first = renderer.replay(model, load_states(episodes, chosen[0])[:1], workcell.cameras, cfg.width, cfg.height)
    work = partial(_record, model, workcell.cameras, episodes, renderer, cfg)
    longest = max(episode.frames for episode in chosen)
    folders = map_items(
        work,
        [(f"{episode.index:06d}", episode) for episode in chosen],
        out / "episodes",
        what="recording",
        timeout_s=60.0 + SECONDS_PER_PICTURE * longest * len(workcell.cameras) * cfg.samples**2,
    )
    return Recording(
        fps=episodes.fps,
        width=cfg.width,
        height=cfg.height,
        renderer=f"{renderer.name} {renderer.version}",
        sensor_source=renderer.sensor_source,
        codec=cfg.codec,
        segment_names=dict(enumerate(first.bodies)),
        cameras=first.cameras,
        episodes=tuple(RecordedEpisode.model_validate_json((f / TRACKS_FILE).read_bytes()) for f in folders),
    )


def track_name(camera: str) -> str:
    """Name of a camera in files and datasets, which allow no '/': the last part of its name in the MJCF."""
    return camera.rpartition("/")[2]


def load_states(episodes: Episodes, episode: EpisodeRecord) -> NDArray[np.float64]:
    """qpos (T, nq). Raises IntegrityError when the file does not hold the frames that the record says."""
    if episode.states is None:
        raise IntegrityError(f"episode {episode.index} succeeded but has no states")
    with np.load(episodes.path(episode.states), allow_pickle=False) as arrays:
        qpos = arrays["qpos"]
    if len(qpos) != episode.frames or len(qpos) == 0:
        raise IntegrityError(f"episode {episode.index} has {len(qpos)} states for {episode.frames} frames")
    return qpos


def _record(
    model: Path,
    cameras: tuple[str, ...],
    episodes: Episodes,
    renderer: Renderer,
    cfg: RecordingConfig,
    episode: EpisodeRecord,
    folder: Path,
) -> None:
    """All pictures of one episode, and `episode.json`, into `folder`."""
    qpos = load_states(episodes, episode)
    replay = renderer.replay(model, qpos, cameras, cfg.width, cfg.height)
    np.savez(folder / "poses.npz", body_poses=replay.body_poses, camera_poses=replay.camera_poses)
    sampled = set(sampled_frames(len(qpos)).tolist())
    with ExitStack() as files:
        tracks = {camera: Track(files, folder, track_name(camera), episodes.fps, cfg) for camera in cameras}
        pictures = renderer.render(
            model,
            qpos,
            cameras,
            cfg.width,
            cfg.height,
            depth=cfg.depth,
            segmentation=cfg.segmentation,
            samples=cfg.samples,
        )
        for t, images in enumerate(pictures):
            for camera, track in tracks.items():
                track.add(images[camera], counted=t in sampled)
    done = RecordedEpisode(
        index=episode.index,
        frames=len(qpos),
        tracks=tuple(track.summary(f"episodes/{episode.index:06d}") for track in tracks.values()),
        poses=f"episodes/{episode.index:06d}/poses.npz",
    )
    (folder / TRACKS_FILE).write_text(done.model_dump_json(indent=1))


class Track:
    """The open files of one camera in one episode."""

    def __init__(self, files: ExitStack, folder: Path, camera: str, fps: int, cfg: RecordingConfig) -> None:
        def gray(kind: str) -> GrayWriter:
            path = folder / f"{camera}.{kind}.mkv"
            return files.enter_context(gray_writer(path, width=cfg.width, height=cfg.height, fps=fps))

        self._camera = camera
        self._cfg = cfg
        self._counter = ColorCounter()
        self._color: ColorWriter = files.enter_context(
            color_writer(
                folder / f"{camera}.mp4", width=cfg.width, height=cfg.height, fps=fps, codec=cfg.codec, crf=cfg.crf
            )
        )
        self._depth = gray("depth") if cfg.depth else None
        self._segmentation = gray("segmentation") if cfg.segmentation else None

    def add(self, images: Images, *, counted: bool) -> None:
        self._color.add(images.color)
        if counted:
            self._counter.add(images.color)
        if self._depth is not None and images.depth is not None:
            self._depth.add(millimetres(images.depth, self._cfg.max_depth_m))
        if self._segmentation is not None and images.segmentation is not None:
            self._segmentation.add(images.segmentation)

    def summary(self, folder: str) -> CameraTrack:
        """folder: where the files will lie in the artifact."""
        stats = self._counter.stats()
        return CameraTrack(
            camera=self._camera,
            width=self._cfg.width,
            height=self._cfg.height,
            video=f"{folder}/{self._camera}.mp4",
            depth=f"{folder}/{self._camera}.depth.mkv" if self._depth else None,
            segmentation=f"{folder}/{self._camera}.segmentation.mkv" if self._segmentation else None,
            color_stats={name: tuple(stats[name].tolist()) for name in NAMES},
            color_count=self._counter.frames,
        )


def millimetres(depth: NDArray[np.float32], max_depth_m: float) -> NDArray[np.uint16]:
    """Depth [m] (H, W) as whole millimetres; 0 where there is none within `max_depth_m`."""
    known = (depth > 0) & (depth <= max_depth_m)
    return np.where(known, np.rint(depth * 1000.0), 0.0).astype(np.uint16)
