"""Every way that we know of in which made-up or unverified frames could reach training: refused, each for its reason.

A line per way: what somebody does, and what must be said. `python -m bench.bars_trust refusals` counts them.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import toy_stream
import toy_whole
from blueprint import verify
from blueprint.apps.release import delivery, signing
from blueprint.apps.release.importing import Stated, import_dataset
from blueprint.apps.release.signing import chosen_signer
from blueprint.apps.serving.stream import StreamOptions, create_app
from blueprint.backends.signer_file import SignerFile, create_key
from blueprint.client.frames import admitted
from blueprint.core import settings
from blueprint.core.errors import BlueprintError
from blueprint.core.store import RECEIPT_FILE
from blueprint.model.artifacts import Recording
from blueprint.pipeline import STAGES
from blueprint.stages.certificate import ORDER, CertificateConfig, certificate, rule
from formats.lerobot_toys import make_dataset
from toy_signed import CONTENT, POLICY, sign

REAL = CONTENT["frames"][0]
FIRST, SECOND = CONTENT["episodes"]
FAILED = {
    "contents": "failed attempts", "physics_verified": False, "training_suitability": "development_only",
    "episodes": [FIRST, SECOND | {"success": False, "verified": False}],
}  # fmt: skip


def chosen(mode: str = "", *sets: str) -> None:
    """What the settings make of a capture mode and `--set`s."""
    environ = {"SENSOR_CAPTURE_MODE": mode} if mode else {}
    settings.require_simulator(settings.load(STAGES, environ=environ, sets=sets))


SETTINGS: dict[str, tuple[Callable[[], None], str]] = {
    "no capture mode is set": (chosen, "no simulator is chosen"),
    "the mode is fail_closed": (lambda: chosen("fail_closed"), "no simulator is chosen"),
    "Isaac Sim is asked for where it is not": (lambda: chosen("isaac_sim"), "nothing takes its place"),
    "an unknown mode": (lambda: chosen("auto"), "fail_closed"),
    "an old flag of the mode": (lambda: chosen("", "run.allow_mock_capture=true"), "no setting"),
    "the mock renderer without its mode": (lambda: chosen("", "run.renderer=mock"), "contradicts"),
    "the mock renderer in mode mujoco": (lambda: chosen("mujoco", "run.renderer=mock"), "contradicts"),
    "a real renderer's name in mode mock_dev": (lambda: chosen("mock_dev", "run.renderer=mujoco"), "contradicts"),
    "the sensor source as a setting": (
        lambda: chosen("mujoco", "recording.sensor_source=isaac_sim_replicator"),
        "no setting",
    ),
    "the suitability as a setting": (
        lambda: chosen("mujoco", "certificate.training_suitability=production_training"),
        "no setting",
    ),
}


@pytest.mark.parametrize("way", SETTINGS)
def test_settings(way: str) -> None:
    call, said = SETTINGS[way]
    with pytest.raises(BlueprintError, match=said):
        call()


# ------------------------------------------------------------------ a signed dataset, and what is done to it

Change = Callable[[Path, SignerFile], object]
UNKNOWN = {"what": "robot", "name": "arm", "licence": "ask them", "spdx": "", "commercial": "unknown"}


def signed_with(**changes: Any) -> Change:
    return lambda root, signer: sign(root, signer, **changes)


def edited(change: Callable[[dict], dict]) -> Change:
    """The certificate's content edited, the signature left as it was."""

    def do(root: Path, signer: SignerFile) -> None:
        path = root / verify.ENVELOPE
        envelope = json.loads(path.read_text())
        statement = json.loads(base64.b64decode(envelope["payload"]))
        envelope["payload"] = base64.b64encode(json.dumps(change(statement)).encode()).decode()
        path.write_text(json.dumps(envelope))

    return do


def predicate(**changes: Any) -> Change:
    return edited(lambda statement: statement | {"predicate": statement["predicate"] | changes})


def signed_by_another(root: Path, signer: SignerFile) -> None:
    create_key(root.parent / "other.pem")
    sign(root, SignerFile(root.parent / "other.pem"), frames=[REAL | {"sensor_source": "isaac_sim_replicator"}])


def of_another_dataset(root: Path, signer: SignerFile) -> None:
    other = root.parent / "other"
    shutil.copytree(root, other)
    (other / "videos/a/0.mp4").write_bytes(b"other pictures")
    sign(other, signer)
    shutil.copyfile(other / verify.ENVELOPE, root / verify.ENVELOPE)


DATASETS: dict[str, tuple[Change, str, str]] = {
    "mock frames, policy production": (
        signed_with(frames=[REAL | {"sensor_source": "mock"}]), "production", "sensor data is made up",
    ),
    "mock frames, policy physics_verified": (
        signed_with(frames=[REAL | {"sensor_source": "mock"}]), POLICY, "sensor data is made up",
    ),
    "mock frames, policy development": (
        signed_with(frames=[REAL | {"sensor_source": "mock"}]), "development", "sensor data is made up",
    ),
    "mock under another name": (
        signed_with(frames=[REAL | {"sensor_source": "MockCapture v2"}]), "development", "sensor data is made up",
    ),
    "one mock frame among real ones": (
        signed_with(frames=[REAL | {"last_frame": 98}, REAL | {"first_frame": 99, "sensor_source": "mock"}]),
        POLICY, "sensor data is made up",
    ),
    "frames that no range covers": (signed_with(frames=[REAL | {"last_frame": 42}]), POLICY, "cover every frame"),
    "no ranges at all": (signed_with(frames=[]), POLICY, "cover every frame"),
    "MuJoCo's pictures under the default policy": (signed_with(), verify.DEFAULT_POLICY, "does not admit sensors"),
    "a source that nobody knows": (
        signed_with(frames=[REAL | {"sensor_source": "blender_fallback"}]), POLICY, "does not admit sensors",
    ),
    "physics that was not verified": (signed_with(physics_verified=False), POLICY, "were not verified"),
    "a check that failed": (
        signed_with(measurements=[{"text": "it holds", "passed": False}]), POLICY, "checks failed",
    ),
    "a run that is fit for development only": (
        signed_with(training_suitability="development_only"), POLICY, "training suitability is development_only",
    ),
    "a policy that does not exist": (signed_with(), "everything", "no policy"),
    "the sensor source edited": (
        predicate(frames=[REAL | {"sensor_source": "isaac_sim_replicator"}]), "production", "no signature",
    ),
    "the suitability edited": (
        predicate(training_suitability="production_training"), "production", "no signature",
    ),
    "the list of files edited": (
        edited(lambda statement: statement | {"subject": statement["subject"][:-1]}), POLICY, "no signature",
    ),
    "signed by somebody else": (signed_by_another, "production", "no signature by a trusted key"),
    "the certificate of another dataset": (of_another_dataset, POLICY, "videos/a/0.mp4 was changed"),
    "no signature": (lambda root, _: (root / verify.ENVELOPE).unlink(), POLICY, "no signed certificate"),
    "certificate.json in place of the signed one": (
        lambda root, _: (root / verify.ENVELOPE).write_text(json.dumps(CONTENT)), POLICY, "no DSSE envelope",
    ),
    "an episode's certificate edited": (
        predicate(episodes=[FIRST | {"score": 1.0}, SECOND]), POLICY, "no signature",
    ),
    "an episode's failure edited to a success": (
        lambda root, signer: (sign(root, signer, **FAILED), predicate(**CONTENT)(root, signer)), POLICY, "no signature",
    ),
    "an episode without a certificate": (signed_with(episodes=[FIRST]), POLICY, "episodes do not cover every frame"),
    "certificates of no episode": (signed_with(episodes=None), "development", "does not say what the policy needs"),
    "one episode that was not verified": (
        signed_with(episodes=[FIRST, SECOND | {"verified": False}]), POLICY, "episodes 1 were not verified",
    ),
    "one episode of which nobody knows whether it succeeded": (
        signed_with(episodes=[FIRST, SECOND | {"success": None}]), POLICY, "episodes 1 were not verified",
    ),
    "one made-up episode": (
        signed_with(episodes=[FIRST, SECOND | {"sensor_source": "mock"}]), "development", "sensor data is made up",
    ),
    "failed attempts, policy production": (signed_with(**FAILED), "production", "are failed attempts"),
    "failed attempts, policy physics_verified": (signed_with(**FAILED), POLICY, "are failed attempts"),
    "failed attempts that claim the best suitability": (
        signed_with(**FAILED | {"training_suitability": "production_training", "physics_verified": True}),
        POLICY, "are failed attempts",
    ),
    "failed attempts that are made up": (
        signed_with(**FAILED, frames=[REAL | {"sensor_source": "mock"}]), "development", "sensor data is made up",
    ),
    "the verdict on commercial use edited": (
        lambda root, signer: (
            sign(root, signer, inputs=[UNKNOWN], commercial_use="unknown"),
            predicate(commercial_use="yes")(root, signer),
        ), POLICY, "no signature",
    ),
    "a licence edited": (predicate(inputs=[UNKNOWN | {"commercial": "yes"}]), POLICY, "no signature"),
    "commercial use of an input of unknown terms": (
        signed_with(inputs=[*CONTENT["inputs"], UNKNOWN]), "development", "its inputs say unknown",
    ),
    "commercial use of nothing that is named": (signed_with(inputs=[]), "development", "its inputs say unknown"),
    "commercial use against an input's terms": (
        signed_with(inputs=[*CONTENT["inputs"], UNKNOWN | {"commercial": "no"}]), "development", "its inputs say no",
    ),
    "a swapped video": (
        lambda root, _: (root / "videos/a/0.mp4").write_bytes(b"made up"), POLICY, "videos/a/0.mp4 was changed",
    ),
    "a dropped episode": (lambda root, _: (root / "data/0.parquet").unlink(), POLICY, "data/0.parquet is missing"),
    "foreign episodes put in": (
        lambda root, _: (root / "data/1.parquet").write_bytes(b"rows"), POLICY, "data/1.parquet is not in",
    ),
    "a link to data elsewhere": (
        lambda root, _: (root / "data/more").symlink_to(root.parent), POLICY, "is no regular file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", DATASETS)
def test_datasets(way: str, signed: Path, signer: SignerFile, tmp_path: Path) -> None:
    """Refused by verify, and by everything that hands data over."""
    change, policy, said = DATASETS[way]
    change(signed, signer)
    with pytest.raises(verify.Refused, match=said):
        verify.verify(signed, [signer.public_key], policy)
    with pytest.raises(verify.Refused, match=said):
        admitted(signed, policy, [signer.public_key])
    with pytest.raises(BlueprintError, match=said):
        delivery.deliver(signed, str(tmp_path / "there"), policy, [signer.public_key], audit=tmp_path / "audit")
    assert not (tmp_path / "there").exists()


def test_a_mock_dataset_under_a_new_name(signed: Path, signer: SignerFile) -> None:
    """MOCK_dataset renamed, and MOCK_certificate.dsse.json renamed beside it."""
    sign(signed, signer, frames=[REAL | {"sensor_source": "mock"}])
    (signed / verify.ENVELOPE).rename(signed.parent / f"MOCK_{verify.ENVELOPE}")
    renamed = signed.rename(signed.parent / "real_dataset")
    with pytest.raises(verify.Refused, match="no signed certificate"):
        verify.verify(renamed, [signer.public_key], "development")
    (renamed.parent / f"MOCK_{verify.ENVELOPE}").rename(renamed.parent / verify.ENVELOPE)
    with pytest.raises(verify.Refused, match="sensor data is made up"):
        verify.verify(renamed, [signer.public_key], "development")


# ------------------------------------------------------------------ copies in other formats, and failed attempts


def copied(root: Path, signer: SignerFile, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A copy as `blueprint convert` leaves it, and why it has no certificate."""
    monkeypatch.setattr(signing, "chosen_signer", lambda: signer)
    copy = root.parent / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(verify.ENVELOPE))
    (copy / "data/0.parquet").rename(copy / "data/rows.hdf5")
    return copy, signing.sign_copy(root, copy, "hdf5")


COPIES: dict[str, tuple[Change, str]] = {
    "of made-up frames": (signed_with(frames=[REAL | {"sensor_source": "mock"}]), "sensor data is made up"),
    "of a swapped video": (lambda root, _: (root / "videos/a/0.mp4").write_bytes(b"made up"), "was changed"),
    "of an edited certificate": (predicate(training_suitability="production_training"), "no signature"),
    "of what somebody else signed": (signed_by_another, "no signature by a trusted key"),
    "of what nobody signed": (lambda root, _: (root / verify.ENVELOPE).unlink(), "no signed certificate"),
    "of what is unsuitable": (signed_with(training_suitability="unsuitable"), "training suitability is unsuitable"),
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_gets_no_certificate(
    way: str, signed: Path, signer: SignerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, said = COPIES[way]
    change(signed, signer)
    copy, why = copied(signed, signer, monkeypatch)
    assert said in why and not (copy / verify.ENVELOPE).exists()
    with pytest.raises(verify.Refused, match="no signed certificate"):
        verify.verify(copy, [signer.public_key], "development")


DERIVED: dict[str, tuple[Change, str]] = {
    "changed": (lambda copy, _: (copy / "data/rows.hdf5").write_bytes(b"other rows"), "data/rows.hdf5 was changed"),
    "given other origins": (predicate(derived_from={"envelope_sha256": "0" * 64}), "no signature"),
    "raised": (predicate(training_suitability="production_training"), "no signature"),
    "with its source's certificate": (
        lambda copy, _: shutil.copyfile(copy.parent / "dataset" / verify.ENVELOPE, copy / verify.ENVELOPE),
        "data/rows.hdf5 is not in the certificate",
    ),
}


@pytest.mark.parametrize("way", DERIVED)
def test_a_certified_copy(way: str, signed: Path, signer: SignerFile, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, why = copied(signed, signer, monkeypatch)
    assert why == "" and verify.verify(copy, [signer.public_key], POLICY)
    change, said = DERIVED[way]
    change(copy, signer)
    with pytest.raises(verify.Refused, match=said):
        verify.verify(copy, [signer.public_key], POLICY)


def test_failed_attempts_beside_the_demonstrations_certificate(signed: Path, signer: SignerFile) -> None:
    """Under the demonstrations' own name, their certificate beside them: it names other files."""
    failures = signed.parent / "failures"
    shutil.copytree(signed, failures)
    (failures / "videos/a/0.mp4").write_bytes(b"it drops")
    (failures / verify.ENVELOPE).unlink()
    (signed / verify.ENVELOPE).rename(signed.parent / verify.ENVELOPE)
    shutil.rmtree(signed)
    renamed = failures.rename(signed)
    with pytest.raises(verify.Refused, match=r"videos/a/0\.mp4 was changed"):
        verify.verify(renamed, [signer.public_key], "development")


# ------------------------------------------------------------------ foreign episodes


@pytest.mark.parametrize("policy", ["production", "physics_verified"])
@pytest.mark.parametrize("stated", ["isaac_sim_replicator", "mujoco", "a webcam"])
def test_imported_episodes(tmp_path: Path, stated: str, policy: str) -> None:
    """Whatever is said of what made them."""
    theirs = make_dataset(tmp_path / "theirs")
    import_dataset(theirs, tmp_path / "ours", Stated(stated, "CC0-1.0"))
    for take in (verify.verify, lambda *given: admitted(given[0], given[2], given[1])):
        with pytest.raises(verify.Refused, match="training suitability is development_only"):
            take(tmp_path / "ours", [chosen_signer().public_key], policy)


def test_imported_episodes_that_are_made_up(tmp_path: Path) -> None:
    theirs = make_dataset(tmp_path / "theirs")
    (theirs / "manifest.json").write_text('{"sensor_source": "mock"}')
    with pytest.raises(BlueprintError, match="sensor data is made up"):
        import_dataset(theirs, tmp_path / "ours", Stated("a webcam", "CC0-1.0"))


# ------------------------------------------------------------------ before there is a certificate


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> toy_whole.Made:
    return toy_whole.make_all(tmp_path_factory.mktemp("toy"))


def certify(made: toy_whole.Made, out: Path) -> Any:
    out.mkdir()
    return certificate.function(**{name: made[name] for name in ORDER}, cfg=CertificateConfig(), out=out)


def moved(made: toy_whole.Made, name: str, to: Path) -> toy_whole.Made:
    shutil.copytree(made[name].root, to)
    return made | {name: type(made[name]).load(to)}


def test_a_partial_run(made: toy_whole.Made, tmp_path: Path) -> None:
    cut = moved(made, "recording", tmp_path / "recording")
    (tmp_path / "recording" / RECEIPT_FILE).unlink()
    with pytest.raises(BlueprintError, match="receipt"):
        certify(cut, tmp_path / "out")


def test_an_old_receipt_beside_new_files(made: toy_whole.Made, tmp_path: Path) -> None:
    changed = moved(made, "recording", tmp_path / "recording")
    video = next((tmp_path / "recording").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:-1] + b"x")
    with pytest.raises(BlueprintError, match="SHA-256"):
        certify(changed, tmp_path / "out")


def test_a_recording_that_claims_other_sensors_than_its_renderer_has(made: toy_whole.Made, tmp_path: Path) -> None:
    """Its artifact says isaac_sim_replicator, its receipt says who drew it."""
    lying = moved(made, "recording", tmp_path / "recording")
    claimed = lying["recording"].model_copy(update={"sensor_source": "isaac_sim_replicator"})
    lying["recording"] = claimed.save(tmp_path / "recording")
    toy_whole.write_receipt("recording", lying, ("workcell", "episodes"))
    for name in ("quality", "dataset"):
        lying = moved(lying, name, tmp_path / name)
        toy_whole.write_receipt(name, lying, ("episodes", "recording") if name == "quality" else ("recording",))
    found = certify(lying, tmp_path / "out")
    assert found.sensor_source.startswith("unknown") and found.training_suitability == "development_only"
    content = found.model_dump(mode="json")
    for policy in ("production", "physics_verified"):
        assert any("does not admit sensors" in reason for reason in verify.objections(content, policy))


@pytest.mark.parametrize("renderer", ["", "mujoco 3.17.0", "mine 1", "isaac_sim_lookalike 5"])
def test_only_isaac_sim_speaks_for_isaac_sim(renderer: str) -> None:
    assert rule.sensor_source("isaac_sim_replicator", renderer).startswith("unknown")


@pytest.mark.parametrize("physics", ["heuristic", "none", "", "mujoco_like 1"])
def test_physics_that_nobody_ran(physics: str) -> None:
    assert not rule.physics_verified(physics, 5, ())


# ------------------------------------------------------------------ the stream


def streamed(root: Path, policy: str) -> tuple[int, str]:
    """Status and words of a server that is asked for the episodes of a scene."""
    with TestClient(create_app(root, StreamOptions(policy=policy))) as client:
        key = client.get("/v1/stream").json()["key"]
        answer = client.get(f"/v1/streams/{key}/episodes")
    return answer.status_code, answer.text


@pytest.mark.parametrize("policy", verify.POLICIES)
def test_a_stream_of_a_run_that_makes_up_its_pictures(tmp_path: Path, policy: str) -> None:
    """Refused before there are any: its request says so."""
    scene = toy_stream.begin(tmp_path, 2)
    toy_stream.produce(scene, 2)
    assert streamed(tmp_path, "physics_verified")[0] == 200
    scene.set_request(scene.request() | {"sets": ["run.simulator=mujoco", "run.renderer=mock"]})
    status, said = streamed(tmp_path, policy)
    assert status == 403 and "sensor data is made up" in said


@pytest.mark.parametrize("policy", ["production", "physics_verified"])
def test_a_stream_of_pictures_that_claim_other_sensors_than_their_renderer_has(tmp_path: Path, policy: str) -> None:
    scene = toy_stream.begin(tmp_path, 2)
    toy_stream.produce(scene, 2)
    made = scene.receipt("episodes", scene.current()["episodes"]).files_digest
    claims = Recording(
        fps=15, width=4, height=4, renderer="mine 1", sensor_source="isaac_sim_replicator", codec="h264",
        segment_names={}, episodes=(),
    )  # fmt: skip
    parts = toy_stream.parts_of("recording").model_copy(update={"inputs": {"episodes": made}})
    toy_stream.publish(scene, claims, parts)
    status, said = streamed(tmp_path, policy)
    assert status == 403 and "unknown" in said
