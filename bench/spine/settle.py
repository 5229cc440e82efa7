"""Bars: every object of the real captures holds still where it is spawned.

python -m bench.spine.settle [CAPTURE ...] [--keep DIR]
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from bench.rows import Row, captures
from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.artifacts import Articulation, Assets, Capture, Physics, Reconstruction, SimScene, Source
from blueprint.stages.articulation import ArticulationConfig, articulation
from blueprint.stages.assets import AssetsConfig, assets
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.physics import PhysicsConfig, physics
from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction
from blueprint.stages.simscene import SimSceneConfig, simscene

BOXED = ("posecnn_ycb_1", "posecnn_ycb_2", "posecnn_ycb_3")  # run with the user's boxes
ISOLATED = ("sixdof_cheezit", "sixdof_green_bowl", "sixdof_mustard", "sixdof_red_mug", "sixdof_white_bowl")
PENETRATION_M = 0.001


def rows(names: Sequence[str] = BOXED + ISOLATED, keep: Path | None = None) -> Iterable[Row]:
    """One row per capture, and one for all. keep: folder of intermediate results, reused when it has them."""
    settled = total = 0
    deepest = 0.0
    for name in names:
        made = physics_of(name, (keep or scratch()) / name)
        test = made.settle
        good = sum(_still(item.drift_m, item.drift_deg) for item in test.objects)
        settled, total = settled + good, total + len(test.objects)
        deepest = max(deepest, test.max_penetration_m)
        yield Row(
            f"settle {name}",
            f"{good}/{len(test.objects)}, {test.max_drift_m * 1e3:.2f} mm, {test.max_drift_deg:.2f} deg, "
            f"{test.max_penetration_m * 1e3:.2f} mm deep",
            "all < 10 mm, < 5 deg, <= 1 mm",
            good == len(test.objects) > 0 and test.max_penetration_m <= PENETRATION_M,
        )
    measured = f"{settled}/{total}, {deepest * 1e3:.2f} mm deep"
    yield Row("settle, all captures", measured, "100 %, <= 1 mm", settled == total > 0 and deepest <= PENETRATION_M)


@cache
def scratch() -> Path:
    """A folder for this run's results, which groups of bars share; removed at its end."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _still(drift_m: float, drift_deg: float) -> bool:
    return drift_m < 0.01 and drift_deg < 5.0


def physics_of(name: str, folder: Path) -> Physics:
    """The stages up to physics on a real capture; what already lies in `folder` is not made again."""
    if (folder / "physics/artifact.json").exists():
        return Physics.load(folder / "physics")
    made = articulation_of(name, folder)
    scene = Reconstruction.load(folder / "reconstruction")
    out = folder / "physics"
    out.mkdir(parents=True, exist_ok=True)
    return physics(made, scene, SimulatorMujoco(), PhysicsConfig(), out).save(out)


def articulation_of(name: str, folder: Path) -> Articulation:
    made = assets_of(name, folder)
    (folder / "articulation").mkdir(parents=True, exist_ok=True)
    return articulation(made, ArticulationConfig(), folder / "articulation").save(folder / "articulation")


def assets_of(name: str, folder: Path) -> Assets:
    if (folder / "assets/artifact.json").exists():
        return Assets.load(folder / "assets")
    for part in ("capture", "reconstruction", "assets"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    source = Source(location=str(captures() / name), digest="bench")
    taken: Capture = capture(source, CaptureConfig(), folder / "capture").save(folder / "capture")
    boxes = "boxes.json" if name in BOXED else None
    cfg = ReconstructionConfig(boxes=boxes)
    scene = reconstruction(taken, ReconstructorRgbd(), cfg, folder / "reconstruction").save(folder / "reconstruction")
    return assets(taken, scene, AssetsConfig(), folder / "assets").save(folder / "assets")


def simscene_of(name: str, folder: Path) -> SimScene:
    """The stages up to the scene's files."""
    made = physics_of(name, folder)
    out = folder / "simscene"
    out.mkdir(parents=True, exist_ok=True)
    return simscene(Reconstruction.load(folder / "reconstruction"), made, SimSceneConfig(), out).save(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=BOXED + ISOLATED)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    for row in rows(tuple(arguments.names), arguments.keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
