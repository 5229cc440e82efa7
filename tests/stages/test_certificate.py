"""The certificate: fails closed, says what was measured, and its rule of suitability holds row by row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import toy_whole
from blueprint import verify
from blueprint.apps.outputs import publish
from blueprint.backends.signer_file import SignerFile, create_key
from blueprint.core.errors import IntegrityError
from blueprint.core.run import Step
from blueprint.core.store import RECEIPT_FILE, Scene
from blueprint.model.artifacts import Certificate
from blueprint.model.certificate import Measurement
from blueprint.model.episode import holds
from blueprint.model.scene import Inertia
from blueprint.stages.certificate import ORDER, CertificateConfig, certificate
from blueprint.stages.certificate import episodes as single
from blueprint.stages.certificate.checks import consistent, inertia_margin, judged, wilson_low
from blueprint.stages.certificate.rule import LEVELS, suitability
from blueprint.stages.dataset import DatasetConfig, dataset


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
    assert certified.commercial_use == "yes" and certified.policies == ("development",)
    assert (
        "Commercial use, as far as its inputs' terms go: **yes**"
        in made["dataset"].path("dataset/README.md").read_text()
    )
    assert certified.provenance.source_digest == "0" * 64
    root = made["dataset"].path("dataset")
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert set(certified.subject) == files
    assert [run.stage for run in certified.stages] == list(ORDER)


# ------------------------------------------------------------------ every single episode


def test_every_episode_has_its_measurements_bounds_and_verdicts(made: toy_whole.Made, certified: Certificate) -> None:
    records = {record.index: record for record in made["episodes"].episodes}
    first = 0
    for number, (one, recorded) in enumerate(zip(certified.episodes, made["recording"].episodes, strict=True)):
        record, grade = records[recorded.index], made["quality"].episodes[number]
        assert (one.episode, one.source, one.first_frame) == (number, record.index, first)
        assert one.last_frame - one.first_frame + 1 == record.frames
        assert one.success and one.verified and one.checks == record.attempts[-1].checks
        assert {name: term.measured for name, term in one.terms.items()} == {t.name: t.measured for t in grade.terms}
        assert all(
            term.score == pytest.approx(t.score) for term, t in zip(one.terms.values(), grade.terms, strict=True)
        )
        assert set(one.terms) <= set(certified.terms) and one.score == grade.score
        assert one.sensor_source == certified.sensor_source and one.physics_backend == certified.physics_backend
        first = one.last_frame + 1
    assert first == certified.frame_count


def test_what_was_not_checked_of_an_episode_is_named(made: toy_whole.Made, tmp_path: Path) -> None:
    whole = certify(made, tmp_path / "all")
    ids = {check.id for check in whole.measurements if check.scope == "not_checked"}
    named = [set(one.not_checked) - ids for one in whole.episodes]
    assert "not_checked.sim_to_real" in ids and all(ids <= set(one.not_checked) for one in whole.episodes)
    assert {"quality.novelty"} in named and set() in named  # an episode alone in its task has nothing to differ from
    first, *others = made["quality"].episodes
    lacking = first.model_copy(update={"terms": tuple(t for t in first.terms if t.name != "servo_lag")})
    poorer = moved(made, "quality", tmp_path / "quality")
    poorer["quality"] = made["quality"].model_copy(update={"episodes": (lacking, *others)}).save(tmp_path / "quality")
    toy_whole.write_receipt("quality", poorer, ("episodes", "recording"))
    result = certify(poorer, tmp_path / "out")
    assert set(result.episodes[0].not_checked) - ids == named[0] | {"quality.servo_lag"}
    assert [set(one.not_checked) - ids for one in result.episodes[1:]] == named[1:]


def test_one_bad_episode_is_bad_alone(made: toy_whole.Made, tmp_path: Path) -> None:
    """Of a dataset that is otherwise fit: its score and a verdict without proof are its own, not its neighbours'."""
    batch = single.Batch("https://lab/scan", "mujoco", "mujoco 3", (failed("episodes"), failed("quality")), frozenset())
    records = made["episodes"].model_copy(update={"episodes": tuple(
        record.model_copy(update={"attempts": (record.attempts[-1].model_copy(update={"checks": ()}),)})
        if record.index == 3 else record
        for record in made["episodes"].episodes
    )})  # fmt: skip
    graded = [one.model_copy(update={"score": 0.7 if one.index == 2 else 0.95}) for one in made["quality"].episodes]
    found = list(single.certified(batch, records, made["recording"].episodes, graded))
    assert [one.source for one in found] == [0, 2, 3]
    assert [one.training_suitability for one in found] == ["physics_verified", "development_only", "development_only"]
    assert [one.verified for one in found] == [True, True, False]
    assert not found[0].reasons and "0.70" in found[1].reasons[0] and "follows" in found[2].reasons[0]
    for other in (graded[:-1], graded[::-1]):
        with pytest.raises(IntegrityError, match="not rated"):
            list(single.certified(batch, records, made["recording"].episodes, other))


# ------------------------------------------------------------------ attempts that failed


@pytest.fixture(scope="module")
def with_failures(made: toy_whole.Made, tmp_path_factory: pytest.TempPathFactory) -> toy_whole.Made:
    """The run with a recording of its failed attempt: the pictures of another episode, which nobody looks at here."""
    folder = tmp_path_factory.mktemp("failures")
    made = dict(made)
    for name in ("episodes", "recording", "quality"):
        made = moved(made, name, folder / name)
    good = made["episodes"].episodes[0]
    lost = next(record for record in made["episodes"].episodes if not record.success)
    tried = lost.attempts[0].model_copy(update={"states": good.states, "frames": good.frames})
    records = [
        one if one is not lost else lost.model_copy(update={"attempts": (tried,)}) for one in made["episodes"].episodes
    ]
    made["episodes"] = made["episodes"].model_copy(update={"episodes": tuple(records)}).save(folder / "episodes")
    drawn = made["recording"].episodes[0].model_copy(update={"index": lost.index, "attempt": 0})
    made["recording"] = made["recording"].model_copy(update={"failures": (drawn,)}).save(folder / "recording")
    (folder / "dataset").mkdir()
    inputs = [made[name] for name in ("workcell", "taskset", "episodes", "recording", "licences")]
    made["dataset"] = dataset.function(*inputs, DatasetConfig(), folder / "dataset").save(folder / "dataset")
    for name, needs in (("episodes", ("workcell", "taskset")), ("recording", ("workcell", "episodes")),
                        ("quality", ("episodes", "recording")), ("dataset", ("recording", "licences"))):  # fmt: skip
        toy_whole.write_receipt(name, made, needs)
    return made


def test_failed_attempts_are_signed_and_only_development_takes_them(
    with_failures: toy_whole.Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key(tmp_path / "key.pem")
    monkeypatch.setenv("BLUEPRINT_SIGNING_KEY", str(tmp_path / "key.pem"))
    keys = [SignerFile(tmp_path / "key.pem").public_key]
    certify(with_failures, tmp_path / "certificate")
    steps = [Step(stage, "done", None, (), root) for stage, root in
             ((certificate, tmp_path / "certificate"), (dataset, with_failures["dataset"].root))]  # fmt: skip
    publish(Scene(tmp_path / "scene"), steps)
    shown = tmp_path / "scene" / "outputs" / "failures"
    done = verify.verify(shown, keys, "development")
    assert done.predicate["policies"] == ["development"]
    assert done.predicate["contents"] == "failed attempts" and done.predicate["quality_score"] is None
    (only,) = done.predicate["episodes"]
    assert (only["success"], only["verified"], only["cause"], only["score"]) == (False, False, "dropped", None)
    assert only["training_suitability"] == "development_only" == done.predicate["training_suitability"]
    assert "quality.jerk" in only["not_checked"] and not only["terms"]
    for policy in ("production", "physics_verified"):
        with pytest.raises(verify.Refused, match="failed attempts"):
            verify.verify(shown, keys, policy)
    demonstrations = verify.verify(shown.parent / "dataset", keys, "development")
    assert demonstrations.predicate["contents"] == "demonstrations"
    assert not set(demonstrations.subject.values()) & {done.subject["README.md"]}


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
