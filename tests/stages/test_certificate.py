"""The certificate: fails closed, says what was measured, and its rule of suitability holds row by row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import toy_whole
from blueprint.core.errors import IntegrityError
from blueprint.core.store import RECEIPT_FILE
from blueprint.model.artifacts import Certificate
from blueprint.model.certificate import Measurement
from blueprint.model.scene import Inertia
from blueprint.stages.certificate import ORDER, CertificateConfig, certificate
from blueprint.stages.certificate.checks import consistent, holds, inertia_margin, judged, wilson_low
from blueprint.stages.certificate.rule import LEVELS, suitability


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> toy_whole.Made:
    return toy_whole.make_all(tmp_path_factory.mktemp("toy"))


def certify(made: toy_whole.Made, out: Path) -> Certificate:
    out.mkdir(parents=True, exist_ok=True)
    return certificate.function(**{name: made[name] for name in ORDER}, cfg=CertificateConfig(), out=out).save(out)


@pytest.fixture(scope="module")
def certified(made: toy_whole.Made, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certify(made, tmp_path_factory.mktemp("certificate"))


def moved(made: toy_whole.Made, name: str, to: Path) -> toy_whole.Made:
    """The same run with artifact `name` copied to a folder that may be damaged."""
    shutil.copytree(made[name].root, to)
    return made | {name: type(made[name]).load(to)}


def test_the_file_says_what_the_artifact_says(certified: Certificate) -> None:
    written = json.loads(certified.path(certified.file).read_text())
    assert written.pop("schema") == "blueprint/certificate/2"
    assert written == certified.model_dump(mode="json", exclude={"file"})


def test_same_run_same_bytes(made: toy_whole.Made, certified: Certificate, tmp_path: Path) -> None:
    again = certify(made, tmp_path)
    assert again.path(again.file).read_bytes() == certified.path(certified.file).read_bytes()


@pytest.mark.parametrize("name", ORDER)
def test_without_a_receipt_nothing_is_certified(made: toy_whole.Made, name: str, tmp_path: Path) -> None:
    damaged = moved(made, name, tmp_path / name)
    (tmp_path / name / RECEIPT_FILE).unlink()
    with pytest.raises(IntegrityError, match="receipt"):
        certify(damaged, tmp_path / "out")


def test_a_changed_file_is_noticed(made: toy_whole.Made, tmp_path: Path) -> None:
    damaged = moved(made, "dataset", tmp_path / "dataset")
    video = next((tmp_path / "dataset").rglob("*.mp4"))
    data = bytearray(video.read_bytes())
    data[len(data) // 2] ^= 1
    video.write_bytes(data)
    with pytest.raises(IntegrityError, match="SHA-256"):
        certify(damaged, tmp_path / "out")


def test_a_file_too_many_is_noticed(made: toy_whole.Made, tmp_path: Path) -> None:
    damaged = moved(made, "dataset", tmp_path / "dataset")
    (tmp_path / "dataset" / "dataset" / "extra.parquet").write_text("x")
    with pytest.raises(IntegrityError, match="in no receipt"):
        certify(damaged, tmp_path / "out")


def test_artifacts_of_two_runs_are_not_certified_together(made: toy_whole.Made, tmp_path: Path) -> None:
    other = moved(made, "taskset", tmp_path / "taskset")
    other["taskset"].model_copy(update={"refused": {}}).save(tmp_path / "taskset")
    toy_whole.write_receipt("taskset", other, ("workcell",))
    with pytest.raises(IntegrityError, match="another taskset"):
        certify(other, tmp_path / "out")


def test_every_object_is_measured_and_every_gap_is_named(made: toy_whole.Made, certified: Certificate) -> None:
    ids = {check.id for check in certified.measurements}
    for thing in made["assets"].objects:
        assert {f"assets.{thing.name}.{key}" for key in ("watertight", "silhouette", "depth", "seen")} <= ids
        assert {f"physics.{thing.name}.{key}" for key in ("mass", "friction", "inertia")} <= ids
    assert len(ids) == len(certified.measurements)
    assert any(check.id == "not_checked.sim_to_real" for check in certified.measurements)
    for check in certified.measurements:
        assert (check.passed is None) == (check.bound is None)
        assert check.scope == "measured" or check.passed is None
    masses = [
        check for check in certified.measurements if check.id.startswith("physics.") and check.id.endswith(".mass")
    ]
    assert masses and all(check.scope == "inferred" for check in masses)


def test_a_failed_check_shows_and_lowers(certified: Certificate) -> None:
    """One of the four toy episodes fails, so the bound of 95 % is missed."""
    by_id = {check.id: check for check in certified.measurements}
    assert by_id["episodes.within_retries"].measured == 0.75 and not by_id["episodes.within_retries"].passed
    assert by_id["episodes.failures.dropped"].measured == 1
    assert certified.training_suitability == "development_only"
    assert any("within the retries" in reason for reason in certified.reasons)


def test_a_broken_dataset_is_unsuitable(made: toy_whole.Made, tmp_path: Path) -> None:
    damaged = moved(made, "dataset", tmp_path / "dataset")
    info = tmp_path / "dataset" / "dataset" / "meta" / "info.json"
    info.write_text(info.read_text().replace('"total_frames": ', '"total_frames": 1'))
    toy_whole.write_receipt("dataset", damaged, ("recording",))  # its receipt vouches for the broken file
    result = certify(damaged, tmp_path / "out")
    assert result.training_suitability == "unsuitable"
    assert any(check.id == "dataset.lerobot" and check.passed is False for check in result.measurements)


def test_it_names_origin_licence_robot_and_every_file_of_the_dataset(
    made: toy_whole.Made, certified: Certificate
) -> None:
    said = {(one.what, one.spdx, one.commercial) for one in certified.inputs}
    assert {("capture", "CC0-1.0", "yes"), ("robot", "Apache-2.0", "yes")} <= said
    assert certified.commercial_use == "yes"
    assert (
        "Commercial use, as far as its inputs' terms go: **yes**"
        in made["dataset"].path("dataset/README.md").read_text()
    )
    assert certified.provenance.source_digest == "0" * 64
    root = made["dataset"].path("dataset")
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert set(certified.subject) == files
    assert [run.stage for run in certified.stages] == list(ORDER)


GOOD = {
    "origin": "https://lab/scan",
    "sensor_source": "mujoco",
    "physics_backend": "mujoco",
    "episodes": 5,
    "quality": 0.95,
}


def failed(stage: str) -> Measurement:
    return judged("x", stage, "it", 2.0, "m", "<=", 1.0)


@pytest.mark.parametrize(
    ("change", "failures", "level"),
    [
        ({}, (), "physics_verified"),
        ({"origin": "procedural"}, (), "physics_verified"),
        ({"sensor_source": "isaac_sim_replicator"}, (), "production_training"),
        ({"sensor_source": "isaac_sim_replicator", "origin": "procedural"}, (), "physics_verified"),
        ({"sensor_source": "isaac_sim_replicator"}, ("physics",), "development_only"),
        ({"sensor_source": "mock"}, (), "unsuitable"),
        ({"sensor_source": "something"}, (), "development_only"),
        ({"physics_backend": "mujoco 3.17.0"}, (), "physics_verified"),
        ({"physics_backend": "mujoco_like"}, (), "development_only"),
        ({"physics_backend": "heuristic"}, (), "development_only"),
        ({"episodes": 0}, (), "unsuitable"),
        ({"quality": 0.85}, (), "physics_verified"),
        ({"quality": 0.85, "sensor_source": "isaac_sim_replicator"}, (), "physics_verified"),
        ({"quality": 0.7}, (), "development_only"),
        ({"quality": 0.5}, (), "unsuitable"),
        ({"quality": float("nan")}, (), "unsuitable"),
        ({}, ("assets",), "development_only"),
        ({}, ("episodes",), "development_only"),
        ({}, ("assets", "dataset"), "unsuitable"),
    ],
)
def test_rule_of_suitability(change: dict, failures: tuple[str, ...], level: str) -> None:
    verdict = suitability(**(GOOD | change), measurements=[failed(stage) for stage in failures])
    assert verdict.level == level
    assert bool(verdict.reasons) == (level != "production_training")


def test_more_failures_never_raise_the_level() -> None:
    for stages in (("assets",), ("physics", "episodes"), ("dataset",)):
        with_failures = suitability(**GOOD, measurements=[failed(stage) for stage in stages])
        without = suitability(**GOOD, measurements=[])
        assert LEVELS.index(with_failures.level) < LEVELS.index(without.level)


def test_inertia_margin_is_that_of_the_triangle_inequality() -> None:
    def of(*moments: float) -> float:
        return inertia_margin(
            Inertia(center_of_mass=(0, 0, 0), principal_moments=moments, quat_wxyz=(1, 0, 0, 0))  # type: ignore[arg-type]
        )

    rng = np.random.default_rng(0)
    for points in rng.normal(size=(50, 12, 3)):  # any cloud of masses is a real body
        second = np.linalg.eigvalsh(points.T @ points)
        assert of(*(second.sum() - second)) >= 0
    assert of(1.0, 1.0, 3.0) < 0 and of(0.0, 1.0, 1.0) == 0 and of(-1.0, 1.0, 1.0) < 0 and of(0.0, 0.0, 0.0) < 0


def test_a_success_without_a_proof_is_inconsistent(made: toy_whole.Made) -> None:
    record = made["episodes"].episodes[0]
    assert record.success and consistent(record)
    last = record.attempts[-1]
    for change in (
        {"checks": ()},
        {"success": False},
        {"checks": (last.checks[0].model_copy(update={"measured": 0.0}),)},
    ):
        assert not consistent(record.model_copy(update={"attempts": (last.model_copy(update=change),)}))


def test_bounds_hold_at_the_bound() -> None:
    assert holds(1.0, "<=", 1.0) and holds(1.0, ">=", 1.0) and holds(1.0, "==", 1.0)
    assert not holds(1.1, "<=", 1.0) and not holds(0.9, ">=", 1.0) and not holds(0.9, "==", 1.0)


def test_wilson_interval_matches_published_values() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263 gives 0.2553, 15 of 148 gives 0.0624."""
    assert wilson_low(81, 263) == pytest.approx(0.2553, abs=5e-5)
    assert wilson_low(15, 148) == pytest.approx(0.0624, abs=5e-5)
    assert wilson_low(0, 20) == 0 == wilson_low(0, 0)
