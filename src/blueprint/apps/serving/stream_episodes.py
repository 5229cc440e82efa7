"""Finished, verified episodes of a scene, while the stage that makes them runs and after it has ended.

    DIR/artifacts/episodes/.KEY.partial/episodes/000000/   finished items of a running or stopped stage (`map_items`)
    DIR/artifacts/episodes/KEY/episodes/000000/            the same files, once the stage has ended
    DIR/artifacts/recording/...                            pictures, in the same way

An item's folder gets its name by one rename, when all in it is written and flushed: what is half-written has another.
KEY is the hash of all that the episodes depend on, so KEY and index name the same bytes before and after a crash of
whoever makes or serves them. Nothing here writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from blueprint.core.artifact import Artifact, Model
from blueprint.core.errors import InputError, IntegrityError
from blueprint.core.files import file_digest
from blueprint.core.settings import MOCK
from blueprint.core.store import Receipt, Scene, parts_of
from blueprint.model.artifacts import Capture, Certificate, Episodes, Recording, TaskSet
from blueprint.model.certificate import Suitability
from blueprint.model.episode import TRACKS_FILE, EpisodeRecord, RecordedEpisode, folders_of
from blueprint.stages.certificate import rule
from blueprint.stages.episodes import RECORD_FILE, STATES_FILE

STAGE, ITEMS, PICTURES = "episodes", "episodes", "recording"

T = TypeVar("T", bound=Artifact)
State = Literal["waiting", "running", "stopped", "finished"]


class FileHeader(Model):
    """A file of an episode. url: relative to the server's root."""

    url: str
    size: int
    sha256: str


class EpisodeHeader(Model):
    """What a client knows of an episode before it loads it. states: `.npz` (docs/streaming.md).

    videos: by camera, under the first look; looks: by camera, under each. Both are empty until all looks are recorded
    """

    index: int
    task: str
    family: str
    instruction: str
    seed: int
    attempts: int
    frames: int
    states: FileHeader
    videos: dict[str, FileHeader] = Field(default_factory=dict)
    looks: tuple[dict[str, FileHeader], ...] = ()
    sensor_source: str
    suitability: Suitability


class StreamHeader(Model):
    """What the stream is of.

    state: waiting (no episode stage has begun), running, stopped (nobody works on it: run again), finished
    expected: episodes that the stage will try, None where its settings are not known
    sensor_source: of the pictures, or of the states where there are none
    suitability: the certificate's where there is one (`certified`), else the highest that scene and physics allow yet
    """

    protocol: str
    scene: str
    key: str | None
    state: State
    expected: int | None = None
    tasks: dict[str, str] = Field(default_factory=dict)  # id -> instruction
    simulator: str = ""
    sensor_source: str = ""
    suitability: Suitability = "unsuitable"
    certified: bool = False
    reasons: tuple[str, ...] = ()


class Page(Model):
    """Episodes from a cursor on. next: the cursor after them; end: there will never be more under this key."""

    key: str
    state: State
    episodes: tuple[EpisodeHeader, ...]
    next: int
    end: bool


def latest_key(scene: Scene) -> str | None:
    """Of the run in hand, or of the scene's current episodes, whichever was touched last."""
    current = scene.current().get(STAGE)
    found = [((scene.root / "current.json").stat().st_mtime_ns, current)] if current else []
    for partial in (scene.root / "artifacts" / STAGE).glob(".*.partial"):
        newest = max(path.stat().st_mtime_ns for path in (partial, partial / ITEMS) if path.exists())
        found.append((newest, partial.name[1:].removesuffix(".partial")))
    return max(found)[1] if found else None


@dataclass
class Produced:
    """The episodes under one key. seen: headers of files that were hashed, by key of an artifact and path in it."""

    scene: Scene
    key: str
    seen: dict[tuple[str, str], FileHeader] = field(default_factory=dict)
    records: dict[int, EpisodeRecord] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Raises InputError when there is nothing under this key."""
        folder, partial = self.scene.folder(STAGE, self.key), self.scene.partial(STAGE, self.key)
        for root in (folder, partial, folder):  # it may be renamed between two looks
            if root.is_dir():
                return root
        raise InputError(f"no episodes {self.key} in {self.scene.root}", "ask /v1/stream for the key of the latest")

    @property
    def finished(self) -> bool:
        return self.scene.folder(STAGE, self.key).is_dir()

    @property
    def state(self) -> State:
        return "finished" if self.finished else self.worked_on

    @property
    def worked_on(self) -> Literal["running", "stopped"]:
        """Whether anybody goes on with these episodes or what is made of them."""
        return "running" if self.scene.writer() is not None and latest_key(self.scene) == self.key else "stopped"

    @cached_property
    def artifact(self) -> Episodes:
        """Once finished."""
        return Episodes.load(self.scene.folder(STAGE, self.key))

    @cached_property
    def receipt(self) -> Receipt:
        """Once finished."""
        return self.scene.receipt(STAGE, self.key)

    def record(self, index: int) -> EpisodeRecord | None:
        """None while the episode is not there yet, or beyond the last one."""
        if index not in self.records and self.finished:
            self.records = {record.index: record for record in self.artifact.episodes}
        elif index not in self.records:
            try:
                text = (self.root / ITEMS / f"{index:06d}" / RECORD_FILE).read_bytes()
                self.records[index] = EpisodeRecord.model_validate_json(text)
            except FileNotFoundError:
                return None
            except ValidationError as error:
                raise IntegrityError(f"episode {index} has no readable record: {error}") from error
        return self.records.get(index)

    def ended(self, cursor: int) -> bool:
        return self.finished and cursor >= len(self.artifact.episodes)

    def file(self, root: Path, key: str, name: str, url: str, receipt: Receipt | None) -> FileHeader:
        """receipt: of the artifact `key` in `root`, None while it has none; then the first look at the file counts."""
        if (key, name) not in self.seen:
            if receipt is not None and name in receipt.files:
                size, sha256 = receipt.files[name].size, receipt.files[name].sha256
            else:
                size, sha256 = (root / name).stat().st_size, file_digest(root / name)
            self.seen[key, name] = FileHeader(url=url, size=size, sha256=sha256)
        return self.seen[key, name]


@dataclass(frozen=True)
class Pictures:
    """What was recorded of the episodes. sensors: where pictures come from; looks: how often each episode is drawn.

    receipt, made: None while the stage runs, or was stopped
    """

    root: Path
    key: str
    sensors: str
    looks: int
    receipt: Receipt | None = None
    made: Recording | None = None

    def of(self, index: int) -> tuple[RecordedEpisode, ...]:
        """All looks of an episode; none while one is missing."""
        if self.made is not None:
            return tuple(one for one in self.made.episodes if one.index == index)
        files = [self.root / ITEMS / name / TRACKS_FILE for name in folders_of(index, self.looks)]
        if not all(file.is_file() for file in files):
            return ()
        return tuple(RecordedEpisode.model_validate_json(file.read_bytes()) for file in files)


@dataclass(frozen=True)
class About:
    """What stands about a scene's episodes besides themselves. pictures: None while the recording has not begun."""

    header: StreamHeader
    pictures: Pictures | None = None


def about(scene: Scene, produced: Produced | None, protocol: str) -> About:
    """Read the neighbours of the episodes: what is known now."""
    name = scene.root.name
    if produced is None:
        return About(StreamHeader(protocol=protocol, scene=name, key=None, state="waiting"))
    capture, taskset = scene.made("capture", Capture), scene.made("tasks", TaskSet)
    pictures = _pictures(scene, produced)
    certificate = _of(scene, produced, "certificate", Certificate)
    expected, simulator = _settled(produced)
    sensors = pictures.sensors if pictures else _sensors(scene, simulator)
    if certificate is not None:
        level, reasons = certificate.training_suitability, certificate.reasons
    else:
        bound = rule.suitability(
            origin=capture.origin,
            sensor_source=sensors,
            physics_backend=simulator,
            episodes=1,
            quality=None,
            measurements=(),
        )
        level, reasons = bound.level, (*bound.reasons, "there is no certificate yet: this is what it can reach at most")
    header = StreamHeader(
        protocol=protocol,
        scene=capture.name or name,
        key=produced.key,
        state=produced.state,
        expected=expected,
        tasks={task.id: task.instruction for task in taskset.tasks},
        simulator=simulator,
        sensor_source=sensors,
        suitability=level,
        certified=certificate is not None,
        reasons=reasons,
    )
    return About(header, pictures)


def _pictures(scene: Scene, produced: Produced) -> Pictures | None:
    """Of these very episodes: the scene's current recording, else the last one that was begun."""
    if made := _of(scene, produced, PICTURES, Recording):
        receipt = scene.receipt(PICTURES, made.root.name)
        sensors = rule.sensor_source(made.sensor_source, receipt.backends.get("renderer", ""))
        return Pictures(made.root, receipt.key, sensors, 1, receipt, made)
    begun = sorted((scene.root / "artifacts" / PICTURES).glob(".*.partial"), key=lambda path: path.stat().st_mtime_ns)
    for root in reversed(begun if produced.finished else []):
        parts = parts_of(root)
        if parts and parts.inputs.get(STAGE, "").partition(" ")[0] == produced.receipt.files_digest:
            name = parts.backends.get("renderer", "")
            claimed = next((source for source, renderers in rule.RENDERERS.items() if name in renderers), name)
            return Pictures(root, parts.key, rule.sensor_source(claimed, name), int(parts.config.get("looks", 1)))
    return None


def _sensors(scene: Scene, simulator: str) -> str:
    """Without pictures, where the states come from. A run that was asked for made-up pictures is made up before."""
    asked = [text.partition("=")[2] for text in scene.request().get("sets", ()) if text.startswith("run.renderer=")]
    return MOCK if MOCK in asked else simulator.partition(" ")[0]


def _of(scene: Scene, produced: Produced, stage: str, kind: type[T]) -> T | None:
    """The current artifact of a later stage, if it was made from these very episodes."""
    key = scene.current().get(stage)
    if key is None or not produced.finished:
        return None
    digest = scene.receipt(stage, key).parts.inputs.get(STAGE, "")
    return kind.load(scene.folder(stage, key)) if digest.partition(" ")[0] == produced.receipt.files_digest else None


def _settled(produced: Produced) -> tuple[int | None, str]:
    """Number of episodes tried, and simulator: of the result, else as the work in hand says."""
    parts = None if produced.finished else parts_of(produced.scene.partial(STAGE, produced.key))
    if parts is None and produced.finished:  # maybe only now
        return len(produced.artifact.episodes), produced.artifact.simulator
    return (parts.config.get("count"), parts.backends.get("simulator", "")) if parts else (None, "")


def episode_header(produced: Produced, record: EpisodeRecord, around: About) -> EpisodeHeader:
    """Header of a successful episode."""
    place = f"/v1/streams/{produced.key}/episodes/{record.index}"
    receipt = produced.receipt if produced.finished else None
    name = record.states or f"{ITEMS}/{record.index:06d}/{STATES_FILE}"
    looks, pictures = [], around.pictures
    for k, recorded in enumerate(pictures.of(record.index) if pictures else ()):
        look = dict[str, FileHeader]()
        for track in recorded.tracks:
            assert pictures is not None
            url = f"{place}/{track.camera}.mp4" + (f"?look={k}" if k else "")
            look[track.camera] = produced.file(pictures.root, pictures.key, track.video, url, pictures.receipt)
        looks.append(look)
    return EpisodeHeader(
        index=record.index,
        task=record.task.id,
        family=record.task.goal.family,
        instruction=record.task.instruction,
        seed=record.seed,
        attempts=len(record.attempts),
        frames=record.frames,
        states=produced.file(produced.root, produced.key, name, f"{place}/states.npz", receipt),
        videos=looks[0] if looks else {},
        looks=tuple(looks),
        sensor_source=around.header.sensor_source,
        suitability=around.header.suitability,
    )
