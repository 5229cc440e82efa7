"""Instructions in plain English, as a person standing at the scene camera would give them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.model.spatial import Vec2
from blueprint.model.task import Goal
from blueprint.skills.cell import Cell
from blueprint.skills.families import family
from blueprint.skills.scene import TaskScene
from blueprint.skills.supports import levels

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
# what comes first and last of two, and of more, and from where they are counted
SIDEWAYS = ("left", "right", "leftmost", "rightmost", "left")
UPWARDS = ("lower", "upper", "lowest", "highest", "bottom")


# Skill segment -> what the robot does in it.
SUBTASKS = {
    "reach": "reach for the {object}",
    "approach": "approach the {object}",
    "grasp": "grasp the {object}",
    "lift": "lift the {object}",
    "move": "move the {object}",
    "place": "set the {object} down",
    "release": "let go of the {object}",
    "retreat": "draw back from the {object}",
    "rest": "hold still",
    "recover": "back off and try again",
    "push": "push the {object}",
}


def subtask(segment: str, text: str) -> str:
    """What the robot does in a skill segment. text: of the object that it is about."""
    return SUBTASKS[segment].format(object=" ".join(text.lower().split()) or "object")


def spoken_names(texts: dict[str, str], positions: dict[str, Array], right: Array) -> dict[str, str]:
    """What to call each object: its text, and where it stands among those of the same text: to the side, or how high.

    texts: object -> text; positions: object -> (3,) [m]; right: (2,) the viewer's right in the world's xy plane
    """
    plain = {name: " ".join(text.lower().split()) or name.replace("_", " ") for name, text in texts.items()}
    same = Counter(plain.values())
    named = {}
    for name, text in plain.items():
        rivals = [n for n in plain if plain[n] == text]
        aside, high = (np.array([positions[n] for n in rivals]) @ axis for axis in (np.append(right, 0.0), (0, 0, 1)))
        along, words = (aside, SIDEWAYS) if np.ptp(aside) >= np.ptp(high) else (high, UPWARDS)
        place = int(np.flatnonzero(np.argsort(along, kind="stable") == rivals.index(name))[0])
        named[name] = text if same[text] == 1 else f"{_ordinal(place, len(rivals), words)} {text}"
    return named


def _ordinal(place: int, count: int, names: tuple[str, str, str, str, str]) -> str:
    if count == 2:
        return names[place]
    if place in (0, count - 1):
        return names[2] if place == 0 else names[3]
    words = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    return f"{words[place - 1] if place <= len(words) else f'number {place + 1}'} from the {names[4]}"


@dataclass(frozen=True)
class Wording:
    """Sentences about one scene.

    spoken: what to call every body and joint; boards: (body, height [m]) -> one of several levels of a fixed body
    table: (K, 2) outline; right: (2,) the viewer's right in the world's xy
    """

    spoken: dict[str, str]
    table: Array
    right: Array
    boards: dict[tuple[str, float], str] = field(default_factory=dict)

    @staticmethod
    def of(scene: TaskScene, right: Array) -> Wording:
        cell, qpos = scene.cell, scene.cell.home_qpos
        joints = {joint: _part(cell, body.name, joint) for body in scene.bodies.values() for joint in body.joints}
        texts = {name: name.rstrip("_0123456789").replace("_", " ") for name in cell.fixed}
        texts |= {name: body.text for name, body in scene.bodies.items()}
        for body in scene.bodies.values():
            moved = (cell.model.body(int(cell.model.jnt_bodyid[cell.joint(joint)])).name for joint in body.joints)
            texts |= {
                part: f"{joints[joint]} of the {body.text.lower()}"
                for part, joint in zip(moved, body.joints, strict=True)
                if part in texts
            }
        places = {
            name: np.array(scene.bodies[name].pose.position) if name in scene.bodies else scene.middle(name, qpos)
            for name in texts
        }
        places |= {name: cell.pose(qpos, name)[:3, 3] for name in cell.objects}
        spoken = spoken_names(texts, places, right)
        return Wording(spoken | joints, scene.table, right, _boards(cell, spoken))

    def of_goal(self, name: str, goal: Goal, rng: np.random.Generator) -> str:
        """One sentence without a full stop. name: of the body that the goal is about."""
        templates = family(goal.family).TEMPLATES[goal.family]
        return templates[int(rng.integers(len(templates)))].format(
            object=self.spoken[name],
            target=""
            if goal.target is None
            else self.boards.get((goal.target, goal.height_m), self.spoken[goal.target]),
            where="" if goal.center is None else self.where(goal.center),
            part="" if goal.joint is None else self.spoken[goal.joint],
            steps=", then ".join(self.of_goal(step.object, step.goal, rng) for step in goal.steps),
        )

    def where(self, spot: Vec2) -> str:
        """E.g. "far left", "middle": thirds of the table's extent as the viewer sees it."""
        away = np.array([-self.right[1], self.right[0]])
        across, along = self.table @ self.right, self.table @ away
        x = (np.array(spot) @ self.right - across.min()) / np.ptp(across)
        y = (np.array(spot) @ away - along.min()) / np.ptp(along)
        side = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
        depth = "near" if y < 1 / 3 else "far" if y > 2 / 3 else ""
        if side:
            return f"{depth} {side}".strip()
        return {"near": "front", "far": "back", "": "middle"}[depth]


def viewers_right(model: mujoco.MjModel, camera: str = "scene") -> Array:
    """(2,) unit vector to the right as a camera sees it; the world's x without that camera."""
    found = [k for k in range(model.ncam) if model.camera(k).name == camera]
    right = model.cam_mat0[found[0]].reshape(3, 3)[:2, 0] if found else np.array([1.0, 0.0])
    return right / np.linalg.norm(right)


def _boards(cell: Cell, spoken: dict[str, str]) -> dict[tuple[str, float], str]:
    """(body, height [m]) -> what to call the levels of fixed bodies that have several."""
    named = {}
    for body in cell.fixed:
        heights = [round(level.height, 4) for level in levels(cell, body, cell.home_qpos) if not level.walled]
        for k, height in enumerate(heights if len(heights) > 1 else ()):
            named[body, height] = f"{_ordinal(k, len(heights), UPWARDS)} board of the {spoken[body]}"
    return named


def _part(cell: Cell, owner: str, joint: str) -> str:
    """What moves on a joint, in words: the name of its body without that of the thing that it belongs to."""
    name = cell.model.body(int(cell.model.jnt_bodyid[cell.joint(joint)])).name.rpartition("/")[2]
    while name.startswith(f"{owner}_"):
        name = name.removeprefix(f"{owner}_")
    return name.replace("_", " ")
