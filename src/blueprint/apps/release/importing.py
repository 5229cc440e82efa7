"""`blueprint import-dataset`: anybody's LeRobot dataset with a certificate that says how little is known of it.

Nothing that others say of their data is believed: it is fit for development at most, whatever its maker claims. Data
that comes with a certificate of ours, signed by a trusted key, keeps that one.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint import verify
from blueprint.apps.release.convert import appearing, require_sound, write
from blueprint.apps.release.signing import chosen_signer, envelope, trusted_keys
from blueprint.core.errors import InputError, IntegrityError
from blueprint.core.files import files_below, write_atomic
from blueprint.formats.lerobot.check import Finding
from blueprint.formats.lerobot.read import ForeignDataset, open_dataset
from blueprint.stages.certificate import SCHEMA, checks, rule
from blueprint.stages.licences import judged

FOREIGN = "foreign"
UNJUDGED = {"success": None, "verified": False}
SHOWN = 20  # findings that the certificate repeats
# a word that begins so, unless it is the name of something that is not so ("is_mock": false)
MOCK = re.compile(r'(?<![a-z])mock\w*(?!\w|"?\s*:\s*(?:false|null|0\b))', re.IGNORECASE)
SAID_IN = ("*.json*", "*.md", "meta/*.json*", "sidecar/*.json*")
NOTE = """
> [!WARNING]
> **Foreign data**, sensors `{sensors}` as stated by who imported it. Nothing of it was verified: `{level}`.
"""


@dataclass(frozen=True)
class Stated:
    """What whoever imports a dataset says of it. licence: SPDX identifier, or words; origin: where it comes from"""

    sensor_source: str
    licence: str
    origin: str = ""


def import_dataset(root: Path, out: Path, stated: Stated, keys: Sequence[Path] | None = None) -> dict[str, Any]:
    """Write the dataset at `root` (LeRobot v2.0 to v3.0) as v3.0 into the new folder `out`, certified and signed.

    keys: see `trusted_keys`
    Raises InputError when it is broken or nothing is stated of it, IntegrityError when it says of itself that it is
    made up, or comes with a certificate that does not hold.
    """
    dataset, sensors = open_dataset(root), f"{FOREIGN}:{stated.sensor_source.strip()}"
    if not (stated.sensor_source.strip() and stated.licence.strip()):
        raise InputError("what made the pictures, and on what terms?", "--sensor-source and --licence, in words")
    if reasons := verify.made_up([sensors, *_sayings(root)]):
        raise IntegrityError(f"not imported: {'; '.join(reasons[:3])}", "nothing made up is ever trained on")
    predicate = _own_certificate(root, keys)
    findings = [] if predicate else require_sound(root)
    if links := [str(path) for path in root.rglob("*") if path.is_symlink()]:
        raise InputError(f"{links[0]} is a link", "what it leads to is no part of the dataset: copy it")
    with appearing(root, out) as made:
        if predicate or dataset.version == "v3.0":
            shutil.copytree(root, made)
        else:
            write(dataset, made, "v3.0")
        if predicate:
            shutil.copyfile(verify.envelope_of(root), made / verify.ENVELOPE)
        else:
            content = _certificate(dataset, sensors, stated, findings)
            note = NOTE.format(sensors=sensors, level=content["training_suitability"])
            with (made / "README.md").open("a", encoding="utf-8") as card:
                card.write(note)
            content["subject"] = {name: verify.file_sha256(made / name) for name in files_below(made)}
            write_atomic(made / verify.ENVELOPE, envelope(content, chosen_signer()))
            predicate = content
    names = ("sensor_source", "training_suitability", "frame_count", "commercial_use", "reasons")
    return {"dataset": str(out), "findings": len(findings), **{name: predicate.get(name) for name in names}}


def _sayings(root: Path) -> Iterator[str]:
    """Where the dataset says of itself that it is made up."""
    yield from (name for name in (root.name, root.resolve().name) if MOCK.search(name))
    for path in (path for pattern in SAID_IN for path in sorted(root.glob(pattern)) if "stats" not in path.name):
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from (f"{path.name}: {found[0]}" for line in lines if (found := MOCK.search(line)))


def _own_certificate(root: Path, keys: Sequence[Path] | None) -> dict[str, Any] | None:
    """Of ours, if there is one. Raises IntegrityError when it does not hold."""
    if not any((folder / verify.ENVELOPE).is_file() for folder in (root, root.parent)):
        return None
    try:
        return dict(verify.verify(root, trusted_keys(keys), "development").predicate)
    except verify.Refused as refused:
        raise IntegrityError(
            f"it comes with a certificate that does not hold: {'; '.join(refused.reasons[:3])}",
            "--key names who is trusted; without its certificate it can be imported as foreign data",
        ) from refused


def _certificate(dataset: ForeignDataset, sensors: str, stated: Stated, findings: Sequence[Finding]) -> dict[str, Any]:
    """The content of a certificate, see `model.artifacts.Certificate`; what is not known is null or missing."""
    ranges = [(one.index, one.first, one.first + one.length - 1, one.tasks) for one in dataset.episodes()]
    if not ranges:
        raise InputError(f"{dataset.root} has no episode", "there is nothing to import")
    count, name, made_by = (
        len(ranges),
        dataset.root.resolve().name,
        {"sensor_source": sensors, "physics_backend": FOREIGN},
    )
    found = checks.judged("import.findings", "import", "findings of `blueprint check`", len(findings), "", "==", 0)
    measurements = (found, *checks.not_checked())
    verdict = rule.suitability(origin=stated.origin, episodes=count, quality=None, measurements=measurements, **made_by)
    spdx, commercial = judged(stated.licence)
    terms = {"licence": stated.licence, "spdx": spdx, "commercial": commercial, "source": "who imported it says so"}
    return {
        "schema": SCHEMA,
        "scene": name,
        "contents": "demonstrations",
        "provenance": {"kind": FOREIGN, "origin": stated.origin, "robot": dataset.info.get("robot_type")},
        **made_by,
        "frames": [{"first_frame": 0, "last_frame": ranges[-1][2], **made_by}],
        "frame_count": ranges[-1][2] + 1,
        "physics_verified": rule.physics_verified(FOREIGN, count, measurements),
        "quality_score": None,
        "episodes": [
            {"episode": k, "first_frame": first, "last_frame": last, "task": ", ".join(tasks), **made_by, **UNJUDGED}
            for k, first, last, tasks in ranges
        ],
        "inputs": [{"what": "capture", "name": name, **terms}],
        "commercial_use": verify.commercial_use([commercial]),
        "training_suitability": verdict.level,
        "reasons": verdict.reasons,
        "measurements": [one.model_dump(mode="json") for one in measurements],
        "warnings": [str(finding) for finding in findings[:SHOWN]],
    }


def text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    return (
        f"{escape(value['dataset'])}: {value['frame_count']} frames, sensors {escape(value['sensor_source'])}\n"
        f"[yellow]{value['training_suitability']}[/yellow]: {escape('; '.join(value['reasons'] or ()))}"
    )
