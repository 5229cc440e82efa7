"""Licences: on what terms everything came that the data is made from, and whether all of it permits commercial use.

Terms are read strictly: a text that is not an SPDX expression (spdx.org/licenses) of licences listed here is unknown,
even if it names one ("MIT (repository; origin of the pictures not stated)"). It is bookkeeping, not legal advice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from blueprint import verify
from blueprint.core.stage import stage
from blueprint.model.artifacts import (
    Articulation,
    Capture,
    Library,
    Licences,
    Physics,
    Reconstruction,
    TaskSet,
    Workcell,
)
from blueprint.model.certificate import Commercial, LicensedInput
from blueprint.stages.physics.estimating import RECORD
from blueprint.stages.tasks import PROPOSALS

# licences whose text permits commercial use, some on conditions (name the author, share alike)
PERMISSIVE = (
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "MIT-0", "Unlicense", "Zlib"),
    *("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "PDDL-1.0", "ODC-By-1.0", "ODbL-1.0"),
    *("CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only"),
    *("GPL-3.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-2.0"),
)
_KNOWN = {name.casefold(): name for name in PERMISSIVE}
_FORBIDS = re.compile(
    r"\bNC\b|non[- ]?commercial|not for commercial|"
    r"\b(research|academic)[- ](licen[cs]e|use|only|purpose)",
    re.IGNORECASE,
)
_UNSTATED = ("not known", "not stated")  # of checkpoints.UNKNOWN and of imports whose output names no terms
SERVICE_TERMS = "terms of the service as you agreed to them"
OWN = LicensedInput(
    what="texture", name="table, floor, lamps and procedural textures of this product", licence="Apache-2.0",
    spdx="Apache-2.0", commercial="yes", source="blueprint",
)  # fmt: skip


@stage(version="2")
def licences(
    capture: Capture,
    reconstruction: Reconstruction,
    articulation: Articulation,
    physics: Physics,
    workcell: Workcell,
    taskset: TaskSet,
    library: Library,
    out: Path,
) -> Licences:
    """One row per input. What left no mark in the artifacts (a service that was asked and not followed) has none."""
    inputs = (
        _row("capture", capture.name, capture.licence, capture.origin or "origin not stated"),
        *_given(capture, articulation),
        *_swapped_in(library),
        *_checkpoints(reconstruction),
        *_services(articulation, physics, taskset),
        *(_row("robot", arm.title, arm.licence, arm.source) for arm in {a.name: a for a in workcell.robots}.values()),
        OWN,
    )
    return Licences(inputs=inputs, commercial_use=verify.commercial_use(one.commercial for one in inputs))


def judged(text: str) -> tuple[str, Commercial]:
    """(SPDX expression, whether it permits commercial use). What is not surely permitted is unknown, or forbidden."""
    if _FORBIDS.search(text):
        return "", "no"
    word = " OR " if " OR " in text else " AND "
    parts = [_KNOWN.get(part.strip().replace(" ", "-").casefold(), "") for part in text.split(word)]
    if all(parts):
        return word.join(parts), "yes"
    return "", "unknown"


def _row(what: str, name: str, licence: str, source: str) -> LicensedInput:
    spdx, commercial = judged(licence)
    return LicensedInput(what=what, name=name, licence=licence, spdx=spdx, commercial=commercial, source=source)  # type: ignore[arg-type]


def _given(capture: Capture, articulation: Articulation) -> Iterator[LicensedInput]:
    """Models that came with the capture: under its terms, since nothing else is known of them."""
    names = [thing.name for thing in articulation.objects if "given" in thing.dims_source]
    if names:
        said = f"{len(names)} models: {', '.join(names)}"[:200]
        yield _row("asset", said, capture.licence, "came with the capture, on its terms")


def _swapped_in(library: Library) -> Iterator[LicensedInput]:
    """Things of the library that are like something captured: any of them may stand in an episode."""
    for name, swap in {name: swap for some in library.similar.values() for name, swap in some.items()}.items():
        yield _row("asset", name, swap.licence, f"library.sources: {swap.source}")


def _checkpoints(reconstruction: Reconstruction) -> Iterator[LicensedInput]:
    """Their commercial use is as the table of checkpoints, or the service that ran them, says."""
    for said, permitted in sorted(reconstruction.licences.items()):
        name, _, licence = said.partition(": ")
        spdx, own = judged(licence)
        remote = name.startswith("remote ")
        if not licence or any(word in licence for word in _UNSTATED):
            own = "unknown"
        elif own != "no":
            own = "yes" if permitted else "no"
        what, source = ("service", "the service says so") if remote else ("checkpoint", "docs/learned_models.md")
        yield LicensedInput(what=what, name=name, licence=licence, spdx=spdx, commercial=own, source=source)  # type: ignore[arg-type]


def _services(articulation: Articulation, physics: Physics, taskset: TaskSet) -> Iterator[LicensedInput]:
    """Models behind a service that had a say. Nobody here knows what was agreed with it."""
    if any(joint.source == "model" for thing in articulation.objects for joint in thing.joints):
        yield _row("service", "articulator: a vision model", SERVICE_TERMS, "asked by the settings")
    for kind, file in (("estimator", physics.root / RECORD), ("proposer", taskset.root / PROPOSALS)):
        if file.is_file():
            name = json.loads(file.read_bytes())[kind]
            yield _row("service", f"{kind}: {name}", SERVICE_TERMS, "asked by the settings")
