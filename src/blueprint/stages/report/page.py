"""The page: artifacts in, plain values for the template out. No drawing here."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.backends.protocols import Renderer
from blueprint.geometry.transforms import invert, pose_to_matrix, transform_points
from blueprint.model.artifacts import (
    Assets,
    Capture,
    Certificate,
    Dataset,
    Episodes,
    Physics,
    Quality,
    Reconstruction,
    Recording,
    SimScene,
    TaskSet,
    Workcell,
)
from blueprint.model.certificate import Measurement
from blueprint.model.episode import EpisodeRecord
from blueprint.model.quality import WEIGHTS
from blueprint.model.scene import Check, Joint, PhysicalObject, SceneCamera
from blueprint.stages.certificate.checks import at_first
from blueprint.stages.certificate.rule import LEVELS
from blueprint.stages.report import drawings, films, pictures

TEMPLATES = Path(__file__).parent / "templates"
FAMILIES = {
    "lift": "Lift",
    "place_region": "Place on a region",
    "place_beside": "Place beside",
    "place_on": "Place on top",
    "place_into": "Place into",
    "stack": "Build a tower",
    "rearrange": "Rearrange",
    "sort": "Sort",
    "chain": "Several tasks in a row",
    "insert": "Insert",
    "wipe": "Wipe",
    "pour": "Pour",
    "open": "Open",
    "close": "Close",
    "turn": "Turn",
    "press": "Press",
    "push": "Push",
    "pull": "Pull",
    "handover": "Hand over",
    "carry": "Carry with two arms",
}

LEADS = {
    "rgbd": "One RGB-D view",
    "rgbd_sequence": "A sequence of {} RGB-D views",
    "rgb": "One photograph",
    "rgb_multiview": "{} photographs",
    "stereo": "A stereo pair",
    "scene": "An imported scene",
}


@dataclass(frozen=True)
class Made:
    """The artifacts that the page shows."""

    capture: Capture
    reconstruction: Reconstruction
    assets: Assets
    physics: Physics
    simscene: SimScene
    workcell: Workcell
    taskset: TaskSet
    episodes: Episodes
    recording: Recording
    quality: Quality
    dataset: Dataset
    certificate: Certificate


def template_texts() -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(TEMPLATES.iterdir()) if path.suffix == ".j2"}


def write(content: dict[str, Any], folder: Path) -> None:
    """index.html, and an empty timings.js that the publisher replaces: artifacts hold no clock."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.DictLoader(template_texts()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"mm": _mm, "grams": _grams, "percent": _percent, "value": _value}
    (folder / "index.html").write_text(environment.get_template("index.html.j2").render(content))
    (folder / "timings.js").write_text("window.blueprintTimings = {};\n")


def content(made: Made, renderer: Renderer, shown: list[EpisodeRecord], large: int, turns: int) -> dict[str, Any]:
    """Everything the template reads."""
    return {
        "capture": made.capture,
        "lead": LEADS[made.capture.kind].format(len(made.capture.frames)),
        "camera": viewpoint(made.reconstruction, made.simscene).camera,
        "photographed": bool(made.reconstruction.views),
        "support": made.reconstruction.support,
        "reconstruction": made.reconstruction,
        "certificate": made.certificate,
        "levels": LEVELS,
        "dataset": made.dataset,
        "recording": made.recording,
        "workcell": made.workcell,
        "refused": made.taskset.refused,
        "dropped": made.assets.dropped,
        "settle": made.physics.settle,
        "turns": turns,
        "numbers": numbers(made),
        "legend": [(i.text or i.name, pictures.color_of(k)) for k, i in enumerate(made.reconstruction.instances)],
        "objects": [_object(made, item, turns) for item in made.physics.objects],
        "table_size": _extent(made.reconstruction.support.polygon),
        "films": [_film(made, record, large=k < large) for k, record in enumerate(shown)],
        "tasks": tasks(made),
        "map": table_map(made, renderer),
        "grasps": grasp_bars(made.episodes),
        "durations": drawings.histogram([_seconds(made, r) for r in made.episodes.episodes if r.success], "s"),
        "failures": failures(made.episodes),
        "quality": made.quality,
        "quality_bars": quality_bars(made.quality),
        "training_bars": training_bars(made.quality),
        "scores": drawings.histogram([100 * one.score for one in made.quality.episodes], "points"),
        "coverage": drawings.coverage(made.workcell.table_polygon, made.quality.diversity),
        "groups": check_groups(made.certificate),
        "tally": tally(made.certificate.measurements),
    }


# ------------------------------------------------------------------ numbers and objects


def numbers(made: Made) -> list[tuple[str, str, str]]:
    """(value, what, note) of the strip below the title."""
    records = made.episodes.episodes
    good = sum(record.success for record in records)
    first = sum(at_first(record) for record in records)
    minutes = made.dataset.frames / made.dataset.fps / 60
    count = max(len(records), 1)
    return [
        (str(len(made.physics.objects)), "objects", f"of {len(made.reconstruction.instances)} found"),
        (_percent(good / count), "success", f"{good} of {len(records)} episodes"),
        (_percent(first / count), "first attempt", f"{first} of {len(records)} episodes"),
        (str(made.dataset.episodes), "demonstrations", f"{len(made.dataset.tasks)} tasks"),
        (f"{made.dataset.frames:,}", "frames", f"{minutes:.1f} min at {made.dataset.fps} Hz"),
        (str(len(made.dataset.cameras)), "cameras", f"{made.recording.width}×{made.recording.height} px"),
    ]


def _object(made: Made, item: PhysicalObject, turns: int) -> dict[str, Any]:
    """One card."""
    thing = item.asset
    order = [instance.name for instance in made.reconstruction.instances]
    moved = next((s for s in made.physics.settle.objects if s.name == thing.name), None)
    return {
        "name": thing.name,
        "text": thing.text or thing.name,
        "color": color_of(made, thing.name) if thing.name in order else "",
        "folder": f"media/object_{thing.name}",
        "first": first_turn(made, item, turns),
        "dims": list(zip("xyz", thing.dims_m, thing.dims_sigma_m, thing.dims_source, strict=True)),
        "item": item,
        "thing": thing,
        "colliders": len(item.colliders) + sum(len(part.colliders) for part in item.parts),
        "joints": [joint_text(part.joint) for part in item.parts],
        "faults": [f"{check.text}: {check.fix}" for check in faults_of(made.physics, thing.name)],
        "reachable": made.workcell.reachable.get(thing.name),
        "moved": moved,
    }


def faults_of(physics: Physics, name: str) -> list[Check]:
    """What the physics validator does not accept of an object."""
    return [check for check in physics.checks if check.subject == name and check.passed is False]


def first_turn(made: Made, item: PhysicalObject, turns: int) -> int:
    """The frame of the turntable that shows the object as the capture's camera saw it: the turntable's eye is at -y."""
    eye = np.array([row[3] for row in viewpoint(made.reconstruction, made.simscene).T_world_camera[:3]])
    x, y, _ = transform_points(invert(pose_to_matrix(item.asset.pose)), eye[None])[0]
    return round((-np.pi / 2 - np.arctan2(y, x)) / (2 * np.pi) * turns) % turns


def viewpoint(reconstruction: Reconstruction, simscene: SimScene) -> SceneCamera:
    """The first camera of the capture; of a scene that no camera saw, the first of the simulation."""
    if not reconstruction.views:
        return simscene.cameras[0]
    return next(camera for camera in simscene.cameras if camera.name == "capture")


def joint_text(joint: Joint) -> str:
    """How far it opens, and how sure that is."""
    low, high = joint.limits
    span = f"{np.rad2deg(high - low):.0f}°" if joint.type == "revolute" else f"{_mm(high - low)} mm"
    return f"{joint.type} {joint.child}, {span}, {joint.source} ({_percent(joint.confidence)} sure)"


def color_of(made: Made, name: str) -> str:
    order = [instance.name for instance in made.reconstruction.instances]
    return pictures.color_of(order.index(name)) if name in order else "var(--muted)"


def _extent(polygon: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    low, high = np.min(polygon, axis=0), np.max(polygon, axis=0)
    return float(high[0] - low[0]), float(high[1] - low[1])


# ------------------------------------------------------------------ episodes


def _seconds(made: Made, record: EpisodeRecord) -> float:
    return record.frames / made.episodes.fps


def _film(made: Made, record: EpisodeRecord, *, large: bool) -> dict[str, Any]:
    segment = films.states_of(made.episodes, record)["segment"]
    names = sorted({*made.episodes.segments})
    return {
        "index": record.index,
        "instruction": record.task.instruction,
        "family": FAMILIES[record.task.goal.family],
        "folder": f"media/episode_{record.index:06d}",
        "large": f"media/film_{record.index:06d}" if large else None,
        "cameras": made.dataset.cameras,
        "seconds": _seconds(made, record),
        "attempts": len(record.attempts),
        "grasp": record.grasp_class,
        "spans": [
            asdict(span) | {"color": pictures.color_of(names.index(span.name))}
            for span in films.spans(made.episodes, segment)
        ],
    }


def tasks(made: Made) -> list[dict[str, Any]]:
    """One row per task, in the order of the task set."""
    by_task: dict[str, list[EpisodeRecord]] = defaultdict(list)
    for record in made.episodes.episodes:
        by_task[record.task.id].append(record)
    rows = []
    for task in made.taskset.tasks:
        records = by_task.get(task.id, [])
        rows.append(
            {
                "instruction": task.instruction,
                "family": FAMILIES[task.goal.family],
                "color": color_of(made, task.object),
                "count": len(records),
                "first": sum(at_first(record) for record in records),
                "good": sum(record.success for record in records),
            }
        )
    return rows


def table_map(made: Made, renderer: Renderer) -> str:
    """Start and end of the task's object in every episode that kept its states."""
    kept = [record for record in made.episodes.episodes if record.states is not None]
    moves: list[drawings.Move] = []
    if kept:
        states = [films.states_of(made.episodes, record)["qpos"][[0, -1]] for record in kept]
        model, camera = made.workcell.path(made.workcell.mjcf), made.workcell.cameras[:1]
        replay = renderer.replay(model, np.concatenate(states), camera, 64, 64)
        for k, record in enumerate(kept):
            body = replay.bodies.index(record.task.object)
            start, end = (tuple(map(float, replay.body_poses[2 * k + last, body, :2])) for last in (0, 1))
            color = color_of(made, record.task.object)
            moves.append(drawings.Move(record.task.object, color, start, end, record.success))  # type: ignore[arg-type]
    goals = [task.goal for task in made.taskset.tasks]
    regions = sorted({(goal.center, goal.radius_m) for goal in goals if goal.center is not None})
    base = made.workcell.robot.base.position
    support = made.reconstruction.support
    texture = "media/sources/table.png" if support.texture is not None else None
    circles = [drawings.Region(center, radius) for center, radius in regions]
    return drawings.table_map(support, texture, base[:2], footprints(made), moves, circles)


def footprints(made: Made) -> list[drawings.Footprint]:
    """The objects' bounding boxes on the table, as they came to rest."""
    found = []
    for item in made.physics.objects:
        half = np.array(item.asset.dims_m) / 2 * [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
        corners = transform_points(pose_to_matrix(item.pose), half)[:, :2].tolist()
        name = item.asset.name
        found.append(drawings.Footprint(name, color_of(made, name), tuple((x, y) for x, y in corners)))
    return found


def grasp_bars(episodes: Episodes) -> str:
    counts = Counter(record.grasp_class for record in episodes.episodes if record.success and record.grasp_class)
    most = max(counts.values(), default=1)
    return drawings.bars([drawings.Bar(name, n / most, str(n)) for name, n in counts.most_common()])


def quality_bars(quality: Quality) -> str:
    """Mean score of every group, with its weight."""
    rows = []
    for group, weight in WEIGHTS.items():
        values = [one.groups[group] for one in quality.episodes if group in one.groups]
        if values:
            mean = float(np.mean(values))
            rows.append(
                drawings.Bar(f"{group.replace('sim2real', 'plausibility')} ({weight:.0%})", mean, f"{mean:.2f}")
            )
    return drawings.bars(rows)


def training_bars(quality: Quality) -> str:
    """What the batch as a whole is worth to a learner, term by term."""
    rows = [(term.name.replace("_", " "), term.score) for term in quality.training]
    return drawings.bars([drawings.Bar(name, score, f"{score:.2f}") for name, score in rows])


def failures(episodes: Episodes) -> dict[str, Any]:
    """Causes of all failed attempts, and what the failed episodes say."""
    attempts = [attempt for record in episodes.episodes for attempt in record.attempts]
    counts = Counter(attempt.cause for attempt in attempts if attempt.cause is not None)
    most = max(counts.values(), default=1)
    lost = [record for record in episodes.episodes if not record.success and record.attempts]
    rows = [
        drawings.Bar(str(cause).replace("_", " "), n / most, str(n), "var(--bad)") for cause, n in counts.most_common()
    ]
    return {
        "bars": drawings.bars(rows),
        "attempts": len(attempts),
        "failed": sum(counts.values()),
        "lost": [(record.index, record.task.instruction, record.attempts[-1]) for record in lost],
    }


# ------------------------------------------------------------------ certificate


def check_groups(certificate: Certificate) -> list[tuple[str, list[Measurement]]]:
    """Measurements by stage, in order; what was not checked comes last."""
    groups: dict[str, list[Measurement]] = defaultdict(list)
    for check in certificate.measurements:
        groups["not checked" if check.scope == "not_checked" else check.stage].append(check)
    return list(groups.items())


def tally(measurements: tuple[Measurement, ...]) -> dict[str, int]:
    return {
        "passed": sum(check.passed is True for check in measurements),
        "failed": sum(check.passed is False for check in measurements),
        "stated": sum(check.passed is None and check.scope != "not_checked" for check in measurements),
        "not_checked": sum(check.scope == "not_checked" for check in measurements),
    }


# ------------------------------------------------------------------ how numbers are written


def _mm(metres: float) -> str:
    return f"{1000 * metres:.1f}" if abs(metres) < 0.01 else f"{1000 * metres:.0f}"


def _grams(kilograms: float) -> str:
    return f"{1000 * kilograms:.0f} g" if kilograms < 1 else f"{kilograms:.2f} kg"


def _percent(share: float) -> str:
    """Rounded, but only a whole is 100 %."""
    shown = round(100 * share)
    return "99 %" if shown == 100 and share < 1 else f"{shown} %"


def _value(check: Measurement, bound: bool = False) -> str:
    number = check.bound if bound else check.measured
    if number is None:
        return ""
    if check.unit == "m":
        return f"{_mm(number)} mm"
    text = f"{number:.0f}" if number == round(number) and abs(number) < 1e6 else f"{number:.3g}"
    return f"{text} {check.unit}".strip()
