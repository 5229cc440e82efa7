"""DIR/outputs: the current results under names that stay."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from blueprint.apps.release.signing import chosen_signer, envelope
from blueprint.core.errors import IntegrityError
from blueprint.core.files import write_atomic
from blueprint.core.run import Step
from blueprint.core.settings import MOCK
from blueprint.core.store import Scene
from blueprint.stages.certificate import FAILURES_FILE
from blueprint.verify import ENVELOPE

# stage -> the artifact's files that are copied
FILES = {
    "simscene": ("scene.xml", "scene.usda", "scene.glb"),
    "workcell": ("workcell.xml",),
    "certificate": ("certificate.json",),
}
# a folder of links to what these artifacts' assets/ hold: scene.xml, scene.usda and workcell.xml all look for it there
ASSETS = ("assets", ("simscene", "workcell"))
# name -> (stage, the artifact's folder that it points to)
LINKS = {"dataset": ("dataset", "dataset"), ".thumbs": ("simscene", ".thumbs")}
FAILURES = "failures"  # of the dataset artifact, where attempts that failed were kept: a dataset of its own
REPORT = ("report", "report")
MOCK_MARK = "MOCK_"  # before the names of what holds made-up sensor data


def publish(scene: Scene, steps: Sequence[Step]) -> list[Path]:
    """Make outputs/ show the results of the steps that are done, and nothing else; returns what is there.

    Raises IntegrityError when a stage did not make a file that it should have.
    """
    outputs = scene.root / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    roots = {step.stage.name: step.root for step in steps if step.root is not None}
    mark = MOCK_MARK if _made_up(steps) else ""
    wanted = set()
    for stage, names in FILES.items():
        for name in names if stage in roots else ():
            shown = mark + name if stage == "certificate" else name
            _copy_file(roots[stage] / name, outputs / shown)
            wanted.add(shown)
    if "certificate" in roots:
        signed = {mark + ENVELOPE: roots["certificate"] / FILES["certificate"][0]}
        if (roots["certificate"] / FAILURES_FILE).is_file():
            signed[f"{mark}{FAILURES}.{ENVELOPE}"] = roots["certificate"] / FAILURES_FILE
        for name, certificate in signed.items():
            _sign(certificate, outputs / name)
            wanted.add(name)
    for name, (stage, folder) in LINKS.items():
        if stage in roots:
            shown = mark + name if stage == "dataset" else name
            _link(roots[stage] / folder, outputs / shown)
            wanted.add(shown)
    if "dataset" in roots and (roots["dataset"] / FAILURES).is_dir():
        _link(roots["dataset"] / FAILURES, outputs / (mark + FAILURES))
        wanted.add(mark + FAILURES)
    assets = [roots[stage] / ASSETS[0] for stage in ASSETS[1] if stage in roots]
    if assets:
        _link_entries(assets, outputs / ASSETS[0])
        wanted.add(ASSETS[0])
    if REPORT[0] in roots:
        _copy_report(roots[REPORT[0]] / REPORT[1], outputs / (mark + REPORT[1]), steps)
        wanted.add(mark + REPORT[1])
    for path in outputs.iterdir():
        if path.name not in wanted:
            _remove(path)
    return sorted(outputs / name for name in wanted)


def _made_up(steps: Sequence[Step]) -> bool:
    """Whether a receipt says that the pictures were made up."""
    renderers = [step.receipt.backends.get("renderer", "") for step in steps if step.receipt is not None]
    return any(name.partition(" ")[0] == MOCK for name in renderers)


def timings(steps: Sequence[Step]) -> dict[str, float]:
    """Seconds that each stage took when it ran, from the receipts: artifacts hold no clock."""
    return {step.stage.name: step.receipt.seconds for step in steps if step.receipt is not None}


def _sign(certificate: Path, target: Path) -> None:
    """The certificate signed. Ed25519 signs the same to the same bytes, so nothing changes where nothing changed."""
    data = envelope(json.loads(certificate.read_bytes()), chosen_signer())
    if not (target.is_file() and target.read_bytes() == data):
        write_atomic(target, data)


def _copy_file(source: Path, target: Path) -> None:
    if not source.is_file():
        raise IntegrityError(f"{source} was not made", "this is a defect of the stage; delete its folder and run again")
    data = source.read_bytes()
    if not (target.is_file() and target.read_bytes() == data):
        write_atomic(target, data)


def _link(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise IntegrityError(f"{source} was not made", "this is a defect of the stage; delete its folder and run again")
    relative = os.path.relpath(source, target.parent)
    if target.is_symlink() and target.readlink() == Path(relative):
        return
    beside = target.with_name(f".{target.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(relative)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    beside.replace(target)


def _link_entries(sources: Sequence[Path], target: Path) -> None:
    """Make `target` a folder with a link to every entry of the folders `sources`, swapped in as a whole."""
    links = {entry.name: os.path.relpath(entry, target) for source in sources for entry in sorted(source.iterdir())}
    if target.is_dir() and not target.is_symlink() and links == _links_in(target):
        return
    beside = target.with_name(f".{target.name}.new")
    _remove(beside)
    beside.mkdir()
    for name, relative in links.items():
        (beside / name).symlink_to(relative)
    _remove(target)
    beside.rename(target)


def _links_in(folder: Path) -> dict[str, str]:
    return {entry.name: str(entry.readlink()) if entry.is_symlink() else "" for entry in folder.iterdir()}


def _copy_report(source: Path, target: Path, steps: Sequence[Step]) -> None:
    """Copy beside and swap, so that a reader never sees half a report."""
    script = f"window.blueprintTimings = {json.dumps(timings(steps))};\n"
    origin = f"{source.parent.name}\n"
    stamp = target / ".from"
    if not (stamp.is_file() and stamp.read_text() == origin):
        beside = target.with_name(f".{target.name}.new")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(source, beside)
        (beside / ".from").write_text(origin)
        _remove(target)
        beside.rename(target)
    if not ((target / "timings.js").is_file() and (target / "timings.js").read_text() == script):
        write_atomic(target / "timings.js", script.encode())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
