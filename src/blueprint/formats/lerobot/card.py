"""The dataset card: README.md with the front matter that dataset hubs read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from blueprint.formats.lerobot.croissant import write_croissant
from blueprint.formats.lerobot.files import made
from blueprint.formats.lerobot.writer import DatasetSpec, Summary
from blueprint.formats.video.frames import write_strip
from blueprint.model.artifacts import Episodes, Licences, Recording, Workcell
from blueprint.model.episode import EpisodeRecord, RecordedEpisode

CONFIGS = ({"config_name": "default", "data_files": "data/*/*.parquet"},)  # of the hub's viewer
STRIPS = 4  # tasks of which the card shows an episode
SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}
# identifiers of huggingface.co/docs/hub/repositories-licenses that are SPDX's in small letters, and those that are not
HUB = """apache-2.0 mit bsd-2-clause bsd-3-clause cc0-1.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-3.0
cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-4.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-permissive-1.0 cdla-permissive-2.0
cdla-sharing-1.0 c-uda gpl-3.0 agpl-3.0 lgpl-3.0 mpl-2.0 odc-by odbl pddl unlicense other"""
SPDX = {"odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl", "c-uda-1.0": "c-uda"}
GATE = {
    "Name": "text",
    "Affiliation": "text",
    "Country": "country",
    "I will use the data for": {"type": "select", "options": ["Research", "Education", "A product", "Other"]},
    "I keep to the terms of the data and of its inputs": "checkbox",
}

MOCK = """> [!CAUTION]
> **MOCK DATA.** The pictures are made up (`sensor_source: mock`, capture mode mock_dev). Never train on this.

"""

JUDGED = """Every episode was planned, simulated and accepted by a checker that shares no code
with the planner; failed ones are left out."""

FAILED = """**None of these attempts did its task**: they are kept to learn from what went wrong.
The cause of each stands in `sidecar/episodes.jsonl`. Do not train on them as demonstrations."""

NO_LICENCE = (
    "Not stated. The data derives from a capture and from a robot model; the terms of both bind. "
    "Set `dataset.licence` and `dataset.licence_note` before you share it."
)


def write_card(
    root: Path,
    workcell: Workcell,
    episodes: Episodes,
    recording: Recording,
    pairs: Sequence[tuple[RecordedEpisode, EpisodeRecord]],
    spec: DatasetSpec,
    summary: Summary,
    licence: tuple[str, str, str | None],
    licences: Licences,
) -> None:
    """Also its pictures (media/) and croissant.json. pairs: the episodes of this dataset.

    licence: of the dataset, an SPDX identifier or "other"; a free text; what who asks for access reads, None = open
    """
    identifier, note, gate = licence
    counts = Counter(record.task.instruction for _, record in pairs)
    failed = pairs[0][0].attempt is not None
    body = (
        resources.files("blueprint.formats.lerobot")
        .joinpath("card.md")
        .read_text()
        .format(
            what="failed attempts" if failed else "demonstrations",
            verdict=FAILED if failed else JUDGED,
            mock=MOCK if "mock" in recording.sensor_source else "",
            robot=workcell.said_of_robots("title"),
            robot_source=workcell.said_of_robots("source"),
            robot_licence=workcell.said_of_robots("licence"),
            count=summary.episodes,
            frames=summary.frames,
            fps=spec.fps,
            sensor=recording.sensor_source,
            renderer=recording.renderer,
            simulator=episodes.simulator,
            cameras=", ".join(f"`{video.key}`" for video in spec.videos),
            width=recording.width,
            height=recording.height,
            codec=recording.codec,
            names=", ".join(f"`{name}`" for name in spec.state_names),
            objects=", ".join(body.text for body in workcell.bodies),
            tasks="\n".join(f"| {task} | {counts[task]} |" for task in spec.tasks),
            commercial=licences.commercial_use,
            inputs="\n".join(_row(i.what, i.name, i.licence or "not stated", i.commercial) for i in licences.inputs),
            licence_text=note or (NO_LICENCE if identifier == "other" else f"`{identifier}`"),
            pictures=_pictures(root, recording, pairs),
        )
    )
    name = body.partition("# ")[2].partition("\n")[0]
    (root / "README.md").write_text(front(_metadata(name, identifier, gate, summary)) + body, encoding="utf-8")
    terms = note or NO_LICENCE if identifier == "other" else f"https://spdx.org/licenses/{identifier}"
    write_croissant(root, name, body.partition("**Simulated data.** ")[2].partition("\n\n")[0], terms)


def front(metadata: Mapping[str, Any]) -> str:
    """YAML front matter: each value as JSON, which YAML reads."""
    return "\n".join(["---", *(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in metadata.items()), "---", ""])


def _metadata(name: str, licence: str, gate: str | None, summary: Summary) -> dict[str, Any]:
    spdx = licence.lower().removesuffix("-only").removesuffix("-or-later")
    known = SPDX.get(spdx, spdx)
    terms = {"license": known} if known in HUB.split() else {"license": "other", "license_name": spdx}
    asked = {} if gate is None else {"extra_gated_prompt": gate, "extra_gated_fields": GATE}
    return {
        **terms,
        "pretty_name": name,
        "language": ["en"],
        "task_categories": ["robotics"],
        "size_categories": [next((text for most, text in SIZES.items() if summary.frames < most), "10M<n<100M")],
        "annotations_creators": ["machine-generated"],
        "tags": ["LeRobot", "simulation", "manipulation"],
        "configs": CONFIGS,
        **asked,
    }


def _pictures(root: Path, recording: Recording, pairs: Sequence[tuple[RecordedEpisode, EpisodeRecord]]) -> str:
    """A table of strips: an episode each of some tasks by the first camera, and the first by the other cameras."""
    firsts = list({record.task.instruction: recorded for recorded, record in reversed(pairs)}.items())[::-1][:STRIPS]
    shown = [(text, recorded, recorded.tracks[0]) for text, recorded in firsts]
    shown += [(firsts[0][0], firsts[0][1], track) for track in firsts[0][1].tracks[1:]]
    lines = ["| | camera | from the first frame to the last |", "|---|---|---|"]
    for number, (text, recorded, track) in enumerate(shown):
        file = f"media/{number}.jpg"
        write_strip(recording.path(track.video), recorded.frames, recording.fps, made(root / file))
        lines.append(_row(text, track.camera, f"![stills]({file})"))
    return "\n".join(lines)


def _row(*texts: str) -> str:
    return f"| {' | '.join(' '.join(text.split()).replace('|', '/') for text in texts)} |"
