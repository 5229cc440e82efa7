"""A whole toy run with receipts: every artifact that the certificate and the report take, made in a few seconds.

The scene is `toys`, the robot and the episodes are `toy_episodes`; they do not fit together and need not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import toy_episodes
import toys
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.core.artifact import Artifact
from blueprint.core.files import write_json
from blueprint.core.store import RECEIPT_FILE, FileRecord, KeyParts, Receipt, describe_files, digest_files
from blueprint.model.artifacts import Capture, Episodes, Library
from blueprint.model.capture import Frame
from blueprint.model.episode import Check
from blueprint.stages.dataset import DatasetConfig, dataset
from blueprint.stages.licences import licences
from blueprint.stages.quality import QualityConfig, quality
from blueprint.stages.recording import RecordingConfig, recording

Made = dict[str, Any]  # stage parameter -> artifact


def make_all(folder: Path) -> Made:
    """Every artifact in `folder`/NAME, each with its receipt."""
    made: Made = {"reconstruction": toys.make_reconstruction(folder / "reconstruction")}
    made["capture"] = capture_of(made["reconstruction"], folder / "capture")
    makers = {"assets": toys.make_assets, "articulation": toys.make_articulation, "physics": toys.make_physics}
    for name, make in (*makers.items(), ("simscene", toys.make_simscene)):
        made[name] = make(folder / name)
    made["workcell"] = toy_episodes.make_workcell(folder / "workcell")
    made["taskset"] = toy_episodes.make_taskset(folder / "taskset")
    made["library"] = Library().save(folder / "library")
    for name in ("licences", "episodes"):
        (folder / name).mkdir()
    made["licences"] = licences.function(
        **{name: made[name] for name in licences.inputs}, out=folder / "licences"
    ).save(folder / "licences")
    made["episodes"] = proven(toy_episodes.make_episodes(folder / "episodes", made["workcell"], made["taskset"]))
    for name in ("recording", "quality", "dataset"):
        (folder / name).mkdir()
    cfg = RecordingConfig(width=96, height=96)
    made["recording"] = recording.function(
        made["workcell"], made["episodes"], RendererMujoco(), cfg, folder / "recording"
    ).save(folder / "recording")
    made["quality"] = quality.function(
        made["workcell"], made["episodes"], made["recording"], QualityConfig(), folder / "quality"
    ).save(folder / "quality")
    made["dataset"] = dataset.function(
        made["workcell"],
        made["taskset"],
        made["episodes"],
        made["recording"],
        made["licences"],
        DatasetConfig(),
        folder / "dataset",
    ).save(folder / "dataset")
    inputs = {"reconstruction": ("capture",), "assets": ("reconstruction",), "articulation": ("assets",)}
    inputs |= {
        "physics": ("articulation",),
        "simscene": ("physics",),
        "workcell": ("simscene",),
        "taskset": ("workcell",),
    }
    inputs |= {"licences": ("capture", "reconstruction", "articulation", "physics", "workcell", "taskset", "library")}
    inputs |= {
        "library": ("physics",),
        "episodes": ("workcell", "taskset", "library"),
        "recording": ("workcell", "episodes"),
    }
    inputs |= {"quality": ("episodes", "recording"), "dataset": ("recording", "licences")}
    for name in ("capture", *inputs):
        write_receipt(name, made, inputs.get(name, ()))
    return made


def capture_of(reconstruction: Any, out: Path) -> Capture:
    """A capture whose files are those that the toy reconstruction starts from."""
    out.mkdir(parents=True)
    view = reconstruction.views[0]
    for file in (view.color, view.depth):
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(reconstruction.path(file).read_bytes())
    frame = Frame(id=view.frame, color=view.color, depth=view.depth, camera=view.camera)
    return Capture(name="toy", kind="rgbd", frames=(frame,), licence="CC0-1.0", origin="https://example.org/toy").save(
        out
    )


def proven(episodes: Episodes) -> Episodes:
    """The same with a check that carries each verdict."""

    def check(ok: bool) -> Check:
        return Check(name="height", measured=0.2 if ok else 0.0, bound=0.1, comparison=">=", passed=ok)

    records = []
    for record in episodes.episodes:
        last = record.attempts[-1].model_copy(update={"checks": (check(record.success),)})
        records.append(record.model_copy(update={"attempts": (last,)}))
    update = {"episodes": tuple(records), "simulator": "mujoco"}
    return episodes.model_copy(update=update).save(episodes.root)


def write_receipt(name: str, made: Made, inputs: tuple[str, ...]) -> None:
    """Of artifact `name`, as if the engine had run its stage on `inputs`."""
    artifact: Artifact = made[name]
    digests = {parameter: digest_of(made[parameter]) for parameter in inputs}
    if name == "capture":
        digests = {"source": "0" * 64}
    parts = KeyParts(
        stage=name, version="1", code={}, tools={"numpy": "2"}, config={"seed": 0}, backends={}, inputs=digests
    )
    files = describe_files(artifact.root)
    ran = {"episodes": {"simulator": "mujoco 3.17.0"}, "recording": {"renderer": "mujoco 3.17.0"}}
    backends = ran.get(name, {})
    receipt = Receipt(
        stage=name, key=parts.key, parts=parts, backends=backends, files=files, files_digest=digest_files(files),
        reasons=("new",), seconds=1.0, peak_memory_mib=1.0, finished="2026-01-01T00:00:00Z",
    )  # fmt: skip
    write_json(artifact.root / RECEIPT_FILE, receipt.model_dump(mode="json"))


def digest_of(artifact: Artifact) -> str:
    files: dict[str, FileRecord] = describe_files(artifact.root)
    return digest_files(files)
