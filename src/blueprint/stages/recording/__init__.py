"""Recording: draw the stored states of every successful episode, and read its sensors of force and motion.

What is held of each frame is a data pack (`model/packs.py`) or chosen stream by stream. One trajectory may be drawn
under several looks.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.backends.protocols import Images, Renderer, Replay
from blueprint.backends.signals_mujoco import Signals, compiled, signals
from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError, InputError, IntegrityError
from blueprint.core.execute import map_items
from blueprint.core.stage import stage
from blueprint.formats.lerobot.stats import sampled_frames
from blueprint.formats.video.coding import Codec
from blueprint.geometry.sensor_noise import noisy_color, noisy_depth
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.episode import TRACKS_FILE, EpisodeRecord, RecordedEpisode, folders_of
from blueprint.model.packs import PACKS, PLAIN, POINTS, Pack, Stream
from blueprint.model.variation import Level, Look
from blueprint.stages.recording import motion
from blueprint.stages.recording.labels import Labels, in_place, labels_of, values_of
from blueprint.stages.recording.tracks import Track
from blueprint.stages.recording.tracks import millimetres as millimetres
from blueprint.stages.recording.views import PointCloud, ViewStreams

Array = NDArray[np.float64]

SECONDS_PER_PICTURE = 2.0  # far slower than the slowest software rasteriser seen: beyond it, something hangs
SECONDS_PER_FULL = 2.0  # the same for the streams that a full pack adds to each picture
NEEDS_SIGNALS: frozenset[Stream] = frozenset(
    ("effort", "wrench", "tool_pose", "camera_to_robot_base", "acceleration", "gripper_force", "contacts", "tactile")
)


class RecordingConfig(Config):
    """width, height: pixels of every camera. crf: constant rate factor, None = the codec's usual.

    pack: core, plus or full (docs/data_packs.md); none = colour, poses and what `depth` and `segmentation` say
    cameras: of the workcell, e.g. wrist, overhead, side, front; none = the scene's camera and the wrists
    depth, segmentation: record them beside the colour; none = as the pack says, and without a pack yes
    max_depth_m: readings beyond become 0 (16-bit millimetres end at 65.535 m)
    samples: of the colour per pixel along each axis, averaged (anti-aliasing)
    looks: how many times each trajectory is drawn, each with lights, colours, camera poses and noise of its own drawn
    at level `look` (none, low, medium, high; none = the scene as captured, and one look)
    """

    width: int = Field(default=224, ge=16, le=4096, multiple_of=2)
    height: int = Field(default=224, ge=16, le=4096, multiple_of=2)
    codec: Codec = "h264"
    crf: int | None = Field(default=None, ge=0, le=63)
    pack: Pack | None = None
    cameras: tuple[str, ...] = ()
    depth: bool | None = None
    segmentation: bool | None = None
    max_depth_m: float = Field(default=10.0, gt=0, le=65.535)
    samples: int = Field(default=2, ge=1, le=4)
    looks: int = Field(default=1, ge=1, le=100)
    look: Level = "none"
    seed: int = 0

    @property
    def streams(self) -> frozenset[Stream]:
        chosen = PACKS[self.pack] if self.pack else PLAIN
        switches: dict[Stream, bool | None] = {"depth": self.depth, "segmentation": self.segmentation}
        on: frozenset[Stream] = frozenset(stream for stream, wanted in switches.items() if wanted)
        off: frozenset[Stream] = frozenset(stream for stream, wanted in switches.items() if wanted is False)
        return (chosen | on) - off


@dataclass(frozen=True)
class Drawing:
    """One trajectory under one look. states: file of `Episodes`; attempt: of a failure, else None."""

    record: EpisodeRecord
    states: str
    frames: int
    look_index: int
    look: Look | None
    attempt: int | None = None


@dataclass(frozen=True)
class Session:
    """What all episodes share, made once and inherited by the processes that draw them."""

    workcell: Workcell
    episodes: Episodes
    renderer: Renderer
    cfg: RecordingConfig
    cameras: tuple[str, ...]
    labels: Labels
    vectors: dict[str, tuple[str, ...]]


@stage(version="4", timeout_s=24 * 3600.0)
def recording(workcell: Workcell, episodes: Episodes, renderer: Renderer, cfg: RecordingConfig, out: Path) -> Recording:
    """Replay states to pictures and signals. Raises InfeasibleError when no episode succeeded."""
    chosen = [episode for episode in episodes.episodes if episode.success]
    if not chosen:
        raise InfeasibleError(
            "no episode succeeded, so there is nothing to record",
            "their causes stand in artifacts/episodes/*/artifact.json",
        )
    if cfg.looks > 1 and cfg.look == "none":
        raise InputError(f"recording.looks = {cfg.looks} equal ones", "set recording.look: low, medium or high")
    cameras = chosen_cameras(workcell, cfg.cameras)
    labels, vectors = labels_of(workcell, episodes.episodes), motion.vector_names(workcell, cfg.streams)
    session = Session(workcell, episodes, renderer, cfg, cameras, labels, vectors)
    model = workcell.path(workcell.mjcf)
    # compiles the model here, once: the forked children inherit it
    first = renderer.replay(model, compiled(model).qpos0[None].copy(), cameras, cfg.width, cfg.height)
    if first.bodies != labels.bodies:
        raise IntegrityError("the renderer numbers bodies otherwise than MuJoCo's signals do")
    made = _draw(session, [d for record in chosen for d in drawings(session, record)], out, "episodes")
    failed = [d for record in episodes.episodes for d in _failures(record)] if "failures" in cfg.streams else []
    return Recording(
        fps=episodes.fps,
        width=cfg.width,
        height=cfg.height,
        renderer=f"{renderer.name} {renderer.version}",
        sensor_source=renderer.sensor_source,
        codec=cfg.codec,
        pack=cfg.pack,
        streams=tuple(sorted(cfg.streams)),
        segment_names=dict(enumerate(first.bodies)),
        instances=labels.instances,
        vectors=vectors,
        cameras=first.cameras,
        episodes=made,
        failures=_draw(session, failed, out, "failures"),
    )


def track_name(camera: str) -> str:
    """Name of a camera in files and datasets, which allow no '/': the last part of its name in the MJCF."""
    return camera.rpartition("/")[2]


def chosen_cameras(workcell: Workcell, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names in the MJCF, in the order asked for. Raises InputError for an unknown one."""
    known = {track_name(camera): camera for camera in (*workcell.cameras, *workcell.more_cameras)}
    if len(known) != len(workcell.cameras) + len(workcell.more_cameras):
        raise IntegrityError(f"camera names must differ in their last part: {', '.join(workcell.cameras)}")
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"no camera {unknown[0]!r} in the workcell; it has: {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names)) or workcell.cameras


def drawings(session: Session, record: EpisodeRecord) -> list[Drawing]:
    """The looks of one successful episode, drawn from the seed, the episode and the look's number."""
    from blueprint.skills.variation.draws import draw_look

    cfg, found = session.cfg, []
    if record.states is None:
        raise IntegrityError(f"episode {record.index} succeeded but has no states")
    bodies = ("world", *(body.name for body in session.workcell.bodies))
    for k in range(cfg.looks):
        rng = np.random.default_rng([cfg.seed, 11, record.index, k])
        look = None if cfg.look == "none" else draw_look(rng, cfg.look, bodies, session.cameras)
        found.append(Drawing(record, record.states, record.frames, k, look))
    return found


def _failures(record: EpisodeRecord) -> list[Drawing]:
    return [
        Drawing(record, attempt.states, attempt.frames, 0, None, k)
        for k, attempt in enumerate(record.attempts)
        if not attempt.success and attempt.states is not None and attempt.frames
    ]


def _folder(drawing: Drawing, looks: int) -> str:
    if drawing.attempt is not None:
        return f"{drawing.record.index:06d}_{drawing.attempt:02d}"
    return folders_of(drawing.record.index, looks)[drawing.look_index]


def _draw(session: Session, wanted: list[Drawing], out: Path, below: str) -> tuple[RecordedEpisode, ...]:
    if not wanted:
        return ()
    cfg, pace = session.cfg, getattr(session.renderer, "seconds_per_picture", SECONDS_PER_PICTURE)
    pictures = max(drawing.frames for drawing in wanted) * len(session.cameras)
    folders = map_items(
        partial(_record, session, below),
        [(_folder(drawing, cfg.looks), drawing) for drawing in wanted],
        out / below,
        what="recording",
        timeout_s=60.0 + (pace * cfg.samples**2 + SECONDS_PER_FULL * (cfg.pack is not None)) * pictures,
    )
    return tuple(RecordedEpisode.model_validate_json((f / TRACKS_FILE).read_bytes()) for f in folders)


def load_states(episodes: Episodes, states: str, frames: int) -> dict[str, NDArray]:
    """The arrays of a states file. Raises IntegrityError when it does not hold the frames that the record says."""
    with np.load(episodes.path(states), allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    if len(found["qpos"]) != frames or frames == 0:
        raise IntegrityError(f"{states} has {len(found['qpos'])} states for {frames} frames")
    return found


# ------------------------------------------------------------------ one episode


def _record(session: Session, below: str, drawing: Drawing, folder: Path) -> None:
    """All pictures and signals of one drawing, and `episode.json`, into `folder`."""
    workcell, episodes, cfg = session.workcell, session.episodes, session.cfg
    states = load_states(episodes, drawing.states, drawing.frames)
    record = drawing.record
    model = episodes.path(record.mjcf) if record.mjcf else workcell.path(workcell.mjcf)
    physics = record.variation.physics if record.variation else None
    replay = session.renderer.replay(model, states["qpos"], session.cameras, cfg.width, cfg.height, look=drawing.look)
    felt = signals(model, states, workcell.robots, episodes.fps, physics) if NEEDS_SIGNALS & cfg.streams else None
    names, where = [track_name(camera) for camera in session.cameras], f"{below}/{_folder(drawing, cfg.looks)}"
    sides = motion.write_sides(folder, model, states, felt, replay.bodies, cfg.streams, physics)
    sides["calibration"] = motion.write_calibration(folder, names, replay, felt, workcell.robots)
    pads: list = []
    if "tactile" in cfg.streams and felt is not None:
        robots = workcell.robots
        pads, files = motion.write_tactile(folder, model, states["qpos"], felt, robots, episodes.fps, cfg)
        sides |= files
    _write_poses(folder, session.labels, replay, felt if "object_poses" in cfg.streams and cfg.pack else None)
    tracks, files = _draw_pictures(session, drawing, model, states["qpos"], replay, folder)
    done = RecordedEpisode(
        index=record.index,
        look_index=drawing.look_index,
        look=drawing.look,
        attempt=drawing.attempt,
        frames=drawing.frames,
        tracks=tuple(track.summary(where) for track in tracks),
        poses=f"{where}/poses.npz",
        cameras=replay.cameras,
        vectors=f"{where}/{motion.write_vectors(folder, felt, session.vectors)}" if felt and session.vectors else None,
        tactile=motion.tactile_summaries(pads, where),
        sides={kind: f"{where}/{file}" for kind, file in sorted((sides | files).items())},
    )
    (folder / TRACKS_FILE).write_text(done.model_dump_json(indent=1))


def _write_poses(folder: Path, labels: Labels, replay: Replay, felt: Signals | None) -> None:
    values, count = values_of(labels, replay.bodies), len(labels.bodies)
    arrays = {"body_poses": in_place(replay.body_poses, values, count), "camera_poses": replay.camera_poses}
    if felt is not None:
        for name in ("body_velocity", "body_acceleration"):
            arrays[name] = in_place(getattr(felt, name), values, count)
    np.savez(folder / "poses.npz", **arrays)  # type: ignore[arg-type]


def _draw_pictures(
    session: Session, drawing: Drawing, model: Path, qpos: Array, replay: Replay, folder: Path
) -> tuple[list[Track], dict[str, str]]:
    """The tracks of all cameras, closed, and the side files of their views."""
    cfg, labels, streams = session.cfg, session.labels, session.cfg.streams
    if drawing.record.variation is not None and drawing.record.mjcf is not None:
        labels = labels.in_set(model, drawing.record.variation.swapped)
    names = [track_name(camera) for camera in session.cameras]
    values = values_of(labels, replay.bodies).astype(np.uint16)
    bodies = in_place(replay.body_poses, values.astype(np.int64), len(labels.bodies))
    sampled = set(sampled_frames(len(qpos)).tolist())
    seed = [cfg.seed, 13, drawing.record.index, drawing.look_index]
    views = [ViewStreams(folder, n, c, labels, streams) for n, c in zip(names, replay.cameras, strict=True)]
    pictures = session.renderer.render(
        model,
        qpos,
        session.cameras,
        cfg.width,
        cfg.height,
        depth=bool({"depth", "point_cloud"} & streams),
        segmentation=bool({"segmentation", "bbox_2d", "point_cloud"} & streams),
        normals=bool({"normals", "point_normals"} & streams),
        samples=cfg.samples,
        look=drawing.look,
    )
    with ExitStack() as files:
        tracks = [Track(files, folder, name, session.episodes.fps, cfg, labels) for name in names]
        points = POINTS[cfg.pack] if cfg.pack else 0
        cloud = PointCloud(files, folder, labels, points, cfg.max_depth_m, seed) if points else None
        for t, drawn in enumerate(pictures):
            images = [
                _sensed(drawn[name], drawing.look, values, replay.cameras[c].fx, [c, t])
                for c, name in enumerate(session.cameras)
            ]
            for c, (track, view) in enumerate(zip(tracks, views, strict=True)):
                track.add(images[c], counted=t in sampled)
                view.add(images[c], bodies[t], replay.camera_poses[t, c])
            if cloud is not None:
                cloud.add(images, list(replay.cameras), replay.camera_poses[t])
    sides = {"point_cloud": "point_cloud.npz"} if points else {}
    for view in views:
        sides |= view.finish(goal=drawing.attempt is None)
    return tracks, sides


def _sensed(images: Images, look: Look | None, values: NDArray[np.uint16], focal_px: float, where: list[int]) -> Images:
    """What the sensor makes of a clean picture, labels in the recording's values. where: number of camera and frame."""
    labels = None if images.segmentation is None else values[images.segmentation]
    noise = look.noise if look else None
    if noise is None or look is None:
        return replace(images, segmentation=labels)
    rng = np.random.default_rng([look.seed, *where])
    color = noisy_color(images.color, noise, rng)
    depth = None if images.depth is None else noisy_depth(images.depth, noise, focal_px, rng)
    return replace(images, color=color, depth=depth, segmentation=labels)
