"""What the labels of a recording mean: bodies belong to things, things are of a category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.anatomy_mujoco import Anatomy, anatomy
from blueprint.model.artifacts import Workcell
from blueprint.model.episode import EpisodeRecord, RecordedInstance
from blueprint.model.scene import GRAIN
from blueprint.model.variation import Swap

Array = NDArray[np.float64]
BACKGROUND = "background"
ROBOT = "robot"


@dataclass(frozen=True)
class Labels:
    """bodies: names by segmentation value; instances: by instance value, categories: by semantic value, both from 0;
    instance, category: (B,) values of each body; points: body value -> (V, 3) corners of its hull, body frame
    """

    bodies: tuple[str, ...]
    instances: tuple[RecordedInstance, ...]
    categories: tuple[str, ...]
    instance: NDArray[np.uint16]
    category: NDArray[np.uint16]
    points: dict[int, Array]

    @property
    def objects(self) -> list[int]:
        """Values of the bodies of things other than robots: what a 3D box is drawn around."""
        kinds = [self.instances[i] for i in self.instance]
        return [b for b, kind in enumerate(kinds) if kind.thing and kind.category != ROBOT and b in self.points]

    def in_set(self, model: Path, swapped: Mapping[str, Swap]) -> Labels:
        """Those of an episode with another set of objects, of MJCF file `model`: other instances and hulls."""
        found, names = anatomy(model), [kind.name for kind in self.instances]
        instance = self.instance.copy()
        for body, swap in swapped.items():
            instance[self.instance == names.index(body)] = names.index(f"{body}:{swap.asset}")
        category = np.array([self.categories.index(self.instances[i].category) for i in instance], np.uint16)
        points = {self.bodies.index(found.names[body]): hull for body, hull in found.points.items()}
        return replace(self, instance=instance, category=category, points=points)


def labels_of(workcell: Workcell, records: Iterable[EpisodeRecord] = ()) -> Labels:
    """An object and its moving parts are one instance, of its category or else its name; each arm is one.

    What stands in the place of an object in one of the records is an instance of its own: OBJECT:ASSET.
    """
    found = anatomy(workcell.path(workcell.mjcf))
    kinds = {body.name: body.category or body.text for body in workcell.bodies}
    kinds |= {mover.name: "person" if mover.kind == "person" else mover.name for mover in workcell.movers}
    kinds |= {name: "grain" for name in found.names if name.startswith(GRAIN)}
    arms = {_root_of(found, arm.gripper.finger_bodies[0]) for arm in workcell.robots}
    instances = [RecordedInstance(name=BACKGROUND, category=BACKGROUND, thing=False)]
    of_root, of_mover = {0: 0}, dict[str, int]()
    movers = {mover.name for mover in workcell.movers}
    for root in dict.fromkeys(found.roots.tolist()):
        if root:
            name = found.names[root]
            if (whole := name.partition("/")[0]) in movers:  # a person has several bodies
                if (known := of_mover.setdefault(whole, len(instances))) < len(instances):
                    of_root[root] = known
                    continue
                name = whole
            category = ROBOT if root in arms else kinds.get(name) or name
            of_root[root] = len(instances)
            instances.append(RecordedInstance(name=name, category=category, thing=root in arms or name in kinds))
    swaps = {f"{b}:{s.asset}": s for r in records if r.variation for b, s in r.variation.swapped.items()}
    instances += [RecordedInstance(name=k, category=s.category or s.text, thing=True) for k, s in sorted(swaps.items())]
    categories = tuple(dict.fromkeys(instance.category for instance in instances))
    instance = np.array([of_root[root] for root in found.roots.tolist()], np.uint16)
    category = np.array([categories.index(instances[i].category) for i in instance], np.uint16)
    return Labels(found.names, tuple(instances), categories, instance, category, found.points)


def _root_of(found: Anatomy, body: str) -> int:
    return int(found.roots[found.names.index(body)])


def values_of(labels: Labels, bodies: tuple[str, ...]) -> NDArray[np.int64]:
    """(B',) the recording's value of each body of an episode's own model, which may lack some."""
    return np.array([labels.bodies.index(name) for name in bodies], dtype=np.int64)


def in_place(poses: Array, values: NDArray[np.int64], bodies: int) -> Array:
    """(T, B', D) rows of an episode's bodies as (T, B, D) in the recording's order; NaN for those it has not."""
    out = np.full((len(poses), bodies, poses.shape[2]), np.nan)
    out[:, values] = poses
    return out
