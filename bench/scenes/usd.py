"""Bars: NVIDIA's simready-validate, UsdValidation and our own judge accept every asset and scene; ours rejects damage.

    python -m bench.bars_scenes usd

On a cabinet with a drawer and a door, on procedural rooms of every kind, and on two real captures where they are.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row, captures
from bench.scenes import cabinet
from bench.scenes.mutations import MUTATIONS, mutated
from bench.scenes.rooms import KINDS
from bench.scenes.settled_twice import made_scene
from bench.spine.parity import faults
from bench.spine.settle import scratch, simscene_of
from blueprint.formats.usd.asset import Provenance, write_asset
from blueprint.formats.usd.simready_check import check_asset
from blueprint.model.artifacts import SimScene

PROFILE = ("--profile", "Robotics-Prop", "--version", "4.0.0")
CAPTURED = ("sixdof_mustard", "posecnn_ycb_1")


def rows() -> Iterable[Row]:
    files = scratch() / "usd"
    asset = write_asset(files / "simready", cabinet.make_cabinet(files), files, Provenance())
    yield _judged("cabinet", [asset], [])
    for index, kind in enumerate(KINDS):
        yield _scene(f"room: {kind}", made_scene(index, scratch() / f"twice_{index}").scene)
    for name in CAPTURED:
        if (captures() / name).is_dir():
            yield _scene(name, simscene_of(name, scratch() / name))
        else:
            yield Row(f"USD {name}", "the capture is not here", "0 faults", None)
    yield _mutations(asset, files)


def _scene(name: str, scene: SimScene) -> Row:
    folder = scene.path("assets")
    soft = sorted(folder.glob("soft/*.usda"))
    return _judged(name, sorted(folder.glob("simready/*/simready_usd/*.usda")), [scene.path(scene.usd), *soft])


def _judged(name: str, assets: list[Path], scenes: list[Path]) -> Row:
    """One row: how many assets, what each judge holds against them. Soft bodies alone are no props."""
    files = [*assets, *(_delivered(path) for path in scenes if path.parent.name != "soft")]
    passed, missing = _simready(files)
    invalid = sum(len(faults(path)) for path in [*assets, *scenes])
    ours = sum(len(check_asset(path)) for path in assets)
    tool = "simready-validate missing" if missing else f"simready {passed}/{len(files)}"
    good = not missing and passed == len(files) > 0 and invalid == 0 and ours == 0
    text = f"{tool}, UsdValidation {invalid} ({len(assets) + len(scenes)} files), ours {ours}"
    return Row(f"USD {name}", text, "all pass, 0 faults", good)


def _delivered(scene: Path) -> Path:
    """A copy as it is delivered: SimReady wants the name of a file's grandparent folder in the file's own."""
    folder = scratch() / f"delivered/{scene.parent.parent.name}/scene/usd"
    for name in ("assets", ".thumbs"):
        shutil.copytree(scene.parent / name, folder / name, dirs_exist_ok=True)
    return Path(shutil.copy(scene, folder / scene.name))


def _simready(assets: list[Path]) -> tuple[int, bool]:
    """How many assets NVIDIA's tool passes, and whether the tool is missing."""
    command = Path(sys.executable).with_name("simready-validate")
    if not command.exists():
        return 0, True
    passed = 0
    for asset in assets:
        report = scratch() / "simready.json"
        report.unlink(missing_ok=True)
        run = subprocess.run([command, *PROFILE, "--output", report, asset], capture_output=True, timeout=300)
        made = json.loads(report.read_text()) if report.exists() else {}
        features = [feature for judged in made.values() for feature in judged["features_summary"].values()]
        blocked = [feature for feature in features if feature["blocking_failure"]]
        passed += run.returncode == 0 and bool(features) and not blocked
    return passed, False


def _mutations(asset: Path, files: Path) -> Row:
    accepted = []
    for mutation in MUTATIONS:
        found = {fault.check for fault in check_asset(mutated(asset, files / "damaged", mutation))}
        if mutation.check not in found:
            accepted.append(mutation.name)
    rejected = len(MUTATIONS) - len(accepted)
    text = f"{rejected}/{len(MUTATIONS)} rejected" + (f"; not: {', '.join(accepted)}" if accepted else "")
    return Row("USD: damaged assets, our own judge", text, "all of the 25 and more", not accepted)
