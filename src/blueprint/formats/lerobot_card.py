"""The dataset card: README.md with the front matter that dataset hubs read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from blueprint.formats.lerobot import DatasetSpec, Summary
from blueprint.model.artifacts import Episodes, Licences, Recording, Workcell
from blueprint.model.episode import EpisodeRecord, RecordedEpisode

FRONT = """---
license: {licence}
task_categories:
- robotics
tags:
- LeRobot
- simulation
- manipulation
configs:
- config_name: default
  data_files: data/*/*.parquet
---
"""

MOCK = """> [!CAUTION]
> **MOCK DATA.** The pictures are made up (`sensor_source: mock`, capture mode mock_dev). Never train on this.

"""

JUDGED = """Every episode was planned, simulated and accepted by a checker that shares no code
with the planner; failed ones are left out."""

FAILED = """**None of these attempts did its task**: they are kept to learn from what went wrong.
The cause of each stands in `sidecar/episodes.jsonl`. Do not train on them as demonstrations."""

BODY = """{mock}# {robot}: {count} {what} in simulation

**Simulated data.** The pictures come from `sensor_source: {sensor}` ({renderer}); contacts and motion from
`{simulator}`. No real robot moved. {verdict} What was measured on the scene itself stands in the certificate.

| | |
|---|---|
| episodes, frames | {count}, {frames} at {fps} Hz |
| robot | {robot} (model: {robot_source}; licence: {robot_licence}) |
| cameras | {cameras}: {width}x{height}, {codec} |
| `observation.state`, `action` | {names} |
| objects | {objects} |
| format | LeRobot v3.0; depth, segmentation and poses in [`sidecar/`](sidecar/README.md) |

`observation.state` holds the arm's joint positions [rad] and the gripper's opening [m]; `action` the targets of both
for the next frame.

## Tasks

| task | episodes |
|---|---|
{tasks}

## Licence

{licence_text}

Commercial use, as far as its inputs' terms go: **{commercial}**. Terms that are no SPDX expression count as unknown.

| what | name | licence | commercial use |
|---|---|---|---|
{inputs}

## Read it

```python
from lerobot.datasets.lerobot_dataset import LeRobotDataset

dataset = LeRobotDataset("local/dataset", root="PATH/TO/THIS/FOLDER")
```
"""

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
    licence: tuple[str, str],
    licences: Licences,
) -> None:
    """pairs: the episodes of this dataset; licence: of the dataset, as hubs know it, and a free text."""
    identifier, note = licence
    counts = Counter(record.task.instruction for _, record in pairs)
    failed = pairs[0][0].attempt is not None
    body = BODY.format(
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
    )
    (root / "README.md").write_text(FRONT.format(licence=json.dumps(identifier)) + body)


def _row(*texts: str) -> str:
    return f"| {' | '.join(' '.join(text.split()).replace('|', '/') for text in texts)} |"
