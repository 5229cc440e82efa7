"""Bars of completion on real captures; `python -m bench.bars_scenes completion`, or

python -m bench.scenes.completion [--keep DIR] [CAPTURE ...]

Sizes against the published ones. F-score at 1 cm against ideal shapes of the published size, aligned by ICP from a
common foot: a box, a cylinder, and for a bottle, whose profile nobody publishes, an oval one of usual proportions.
Watertightness, silhouettes and depth of every object. And a ball dropped into every vessel of the sixdof captures,
through the colliders of the real physics stage.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bench.rows import Row, captures
from bench.spine.settle import BOXED, ISOLATED, assets_of, physics_of, scratch
from bench.spine.sizes import by_truth
from blueprint.formats import images
from blueprint.formats.obj import read_obj
from blueprint.geometry.completion.shapes import Prism
from blueprint.geometry.mesh import Mesh, is_closed, prism_mesh
from blueprint.geometry.transforms import transform_points
from blueprint.model.artifacts import Assets, Capture, Physics, Reconstruction
from blueprint.model.scene import ObjectAsset

VESSELS = ("sixdof_green_bowl", "sixdof_white_bowl", "sixdof_red_mug")
LYING = {("posecnn_ycb_2", "tomato_soup_can"), ("posecnn_ycb_2", "sugar_box")}
BOWLS = ("bowl",)  # neither box, nor can, nor bottle
NEAR_M = 0.01
BALL_RADIUS_M = 0.01
OFFSETS = ((0.0, 0.0), (0.3, 0.0), (-0.3, 0.0), (0.0, 0.3), (0.0, -0.3))  # of the opening's radius
BOTTLE = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.85, 0.45, 0.4)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """An object with a published size: sorted extents [m]; asset None when it was not kept."""

    capture: str
    name: str
    published: Array
    asset: ObjectAsset | None

    @property
    def error(self) -> Array:
        if self.asset is None:
            return np.ones(3)
        return np.abs(np.sort(self.asset.dims_m) - self.published) / self.published


def rows(names: Sequence[str] = (*BOXED, *ISOLATED), keep: Path | None = None) -> Iterable[Row]:
    """keep: folder of intermediate results, reused when it has them."""
    folder = keep or scratch()
    made = {name: assets_of(name, folder / name) for name in names}
    known = [row for name in names for row in published(name, folder / name, made[name])]
    if known:
        yield from _sizes(known)
        yield from _f_scores([row for row in known if (row.capture, row.name) not in LYING], made)
    yield from _agreement(made)
    for name in names:
        if name in VESSELS:
            yield _ball(name, physics_of(name, folder / name))


def published(name: str, folder: Path, made: Assets) -> list[Known]:
    """The capture's boxes, cans and bottles with a published size, and what became of each."""
    truth = json.loads((captures() / name / "capture.json").read_text())["gt"]["objects"]
    wanted = {row["label"]: row for row in truth if row.get("dims_m") and row["name"] not in BOWLS}
    if not wanted:
        return []
    seen, scene = Capture.load(folder / "capture"), Reconstruction.load(folder / "reconstruction")
    labels = images.read_labels(scene.path(scene.views[0].labels))
    found = by_truth(labels, seen.path(seen.frames[0].mask or ""))
    named = {instance.label: instance.name for instance in scene.instances}
    kept = {asset.name: asset for asset in made.objects}
    return [
        Known(name, row["name"], np.sort(row["dims_m"]), kept.get(named.get(found.get(label, -1), "")))
        for label, row in wanted.items()
    ]


def _sizes(known: list[Known]) -> Iterable[Row]:
    error = np.concatenate([row.error for row in known])
    yield Row("completion: size error", f"{100 * error.mean():.2f} % of {len(error)} dimensions", "mean <= 6 %",
              bool(error.mean() <= 0.06))  # fmt: skip
    for row in known:
        ours = " x ".join(f"{1000 * d:.0f}" for d in np.sort(row.asset.dims_m)) if row.asset else "not kept"
        text = " x ".join(f"{1000 * d:.0f}" for d in row.published)
        yield Row(f"  {row.capture}, {row.name}", ours, f"published {text}, {100 * row.error.mean():.1f} %", None)


def _f_scores(known: list[Known], made: dict[str, Assets]) -> Iterable[Row]:
    scores = {}
    for row in known:
        if row.asset is None:
            scores[row.capture, row.name] = 0.0
            continue
        mesh = read_obj(made[row.capture].path(row.asset.mesh))
        scores[row.capture, row.name] = f_score((mesh.vertices, mesh.faces), ideal(row))
    worst = min(scores, key=lambda key: scores[key])
    yield Row("completion: F-score at 1 cm, upright boxes, cans, bottles",
              f"{np.mean(list(scores.values())):.3f}, least {scores[worst]:.3f} ({worst[1]})", "each >= 0.8",
              min(scores.values()) >= 0.8)  # fmt: skip


def ideal(row: Known) -> Mesh:
    """The published size as a shape that stands on z = 0 as the object stood, its longer side along x.

    A box may stand on any side: its extents go by rank with ours. Cans and bottles stand on their foot.
    """
    least, middle, most = row.published
    words = row.name.split("_")
    if "box" in words and row.asset is not None:
        x, y, z = row.published[np.argsort(np.argsort(row.asset.dims_m))]
        return prism_mesh(Prism(np.eye(3), np.zeros(3), (x / 2, y / 2), z))
    if "can" in words and middle - least > 0.01:  # a can of meat: oval, and lower than it is long
        return prism_mesh(Prism(np.eye(3), np.zeros(3), (most / 2, least / 2), middle, 0.6))
    half = middle / 2, least / 2
    if "can" in words:
        return prism_mesh(Prism(np.eye(3), np.zeros(3), half, most, 1.0))
    return prism_mesh(Prism(np.eye(3), np.zeros(3), half, most, 1.0, BOTTLE, taper=0.5))


def f_score(ours: Mesh, true: Mesh, count: int = 6000) -> float:
    """Harmonic mean of the shares of each surface within 1 cm of the other, after ICP from a common foot."""
    points = [np.asarray(trimesh.Trimesh(*mesh, process=False).sample(count, seed=0)) for mesh in (ours, true)]
    points[0] = points[0] - [0, 0, points[0][:, 2].min()]
    T, _, _ = trimesh.registration.icp(points[0], points[1], max_iterations=30, reflection=False, scale=False)
    points[0] = transform_points(T, points[0])
    shares = [float(np.mean(KDTree(b).query(a)[0] < NEAR_M)) for a, b in (points, points[::-1])]
    return 2 * shares[0] * shares[1] / max(sum(shares), 1e-9)


def _agreement(made: dict[str, Assets]) -> Iterable[Row]:
    every = [(name, scene, asset) for name, scene in made.items() for asset in scene.objects]
    dropped = sum(len(scene.dropped) for scene in made.values())
    meshes = [read_obj(scene.path(asset.mesh)) for _, scene, asset in every]
    closed = sum(is_closed((mesh.vertices, mesh.faces)) for mesh in meshes)
    yield Row("completion: watertight", f"{closed} of {len(every) + dropped}", "100 %",
              closed == len(every) + dropped > 0)  # fmt: skip
    iou = np.array([asset.silhouette_iou for _, _, asset in every])
    yield Row("completion: silhouette IoU", f"{iou.mean():.3f}, least {iou.min():.3f}", "mean >= 0.9",
              bool(iou.mean() >= 0.9))  # fmt: skip
    depth = 1e3 * np.array([asset.depth_error_median_m for _, _, asset in every])
    yield Row("completion: depth residual", f"{np.median(depth):.2f} mm, most {depth.max():.2f} mm",
              "median <= 1.5 mm", bool(np.median(depth) <= 1.5))  # fmt: skip
    for name, _, asset in every:
        text = f"{asset.method}, {asset.text!r} = {asset.category or '?'} ({asset.category_confidence:.2f})"
        measured = f"IoU {asset.silhouette_iou:.3f}, {1e3 * asset.depth_error_median_m:.2f} mm"
        yield Row(f"  {name}, {asset.name}", measured, text, None)


# ------------------------------------------------------------------ the ball


def _ball(name: str, made: Physics) -> Row:
    """A 2 cm ball dropped from 3 cm above the rim at five places of the opening; it must end inside every time."""
    if len(made.objects) != 1:
        return Row(f"ball stays in, {name}", f"{len(made.objects)} objects", "one vessel", passed=False)
    vessel = made.objects[0]
    mesh = read_obj(made.path(vessel.asset.mesh))
    rim = mesh.vertices[mesh.vertices[:, 2] > mesh.vertices[:, 2].max() - 0.1 * vessel.asset.dims_m[2]]
    centre = (rim.min(axis=0) + rim.max(axis=0)) / 2
    radius = float(np.ptp(rim[:, :2], axis=0).min()) / 2
    ends = [_dropped(made, vessel.asset.name, centre, radius, offset) for offset in OFFSETS]
    inside = [_inside(end, centre, radius, mesh.vertices) for end in ends]
    lowest = min(end[2] for end in ends) - mesh.vertices[:, 2].min()
    measured = f"{sum(inside)} of {len(inside)} drops, lowest {1e3 * lowest:.0f} mm above its foot"
    return Row(f"ball stays in, {name} ({vessel.collider_method})", measured, "yes", all(inside))


def _inside(end: Array, centre: Array, radius: float, vertices: Array) -> bool:
    """Below the rim, within the opening, above the outer foot; end: the ball's centre in the object frame."""
    low, high = vertices[:, 2].min(), vertices[:, 2].max()
    return bool(np.linalg.norm((end - centre)[:2]) < radius and low + 0.8 * BALL_RADIUS_M < end[2] < high)


def _dropped(made: Physics, name: str, centre: Array, radius: float, offset: tuple[float, float]) -> Array:
    """Where the ball's centre comes to rest in the object frame, 3 s after it is let go [m]."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(made.path("settle.xml")))
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    body = model.body(name).id
    rim_z = made.objects[0].asset.dims_m[2] / 2  # the object's origin is the centre of its bounding box
    above = np.append(centre[:2] + radius * np.array(offset), rim_z + 0.03 + BALL_RADIUS_M)
    start = data.xmat[body].reshape(3, 3) @ above + data.xpos[body]
    ball = spec.worldbody.add_body(name="ball", pos=start)
    ball.add_freejoint()
    ball.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[BALL_RADIUS_M, 0, 0], mass=0.005, condim=4)
    for key in list(spec.keys):
        spec.delete(key)
    model = spec.compile()
    data = mujoco.MjData(model)
    for _ in range(round(3.0 / model.opt.timestep)):
        mujoco.mj_step(model, data)
    body = model.body(name).id
    return data.xmat[body].reshape(3, 3).T @ (data.body("ball").xpos - data.xpos[body])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=(*BOXED, *ISOLATED))
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    for row in rows(tuple(arguments.names), arguments.keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
