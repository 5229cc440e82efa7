"""Laws of foreign data: whatever its maker says, it is fit for development at most, and made-up data stays outside."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from blueprint import verify
from blueprint.apps.release import delivery
from blueprint.apps.release.importing import Stated, import_dataset
from blueprint.apps.release.signing import chosen_signer
from blueprint.backends.signer_file import SignerFile, create_key
from blueprint.client.frames import admitted
from blueprint.core.errors import BlueprintError, InputError, IntegrityError
from blueprint.formats.lerobot.convert import convert
from blueprint.formats.lerobot.read import open_dataset
from formats.lerobot_toys import FPS, make_dataset
from toy_signed import POLICY, sign

STATED = Stated("a webcam on a tripod", "CC-BY-4.0", "https://example.org/hands")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("theirs"), lengths=(24, 30))


@pytest.fixture
def foreign(theirs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(theirs, tmp_path / "hands"))


def own_keys() -> list[bytes]:
    return [chosen_signer().public_key]


def refusals(dataset: Path, policy: str) -> str:
    with pytest.raises(verify.Refused) as refused:
        verify.verify(dataset, own_keys(), policy)
    return str(refused.value)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_an_imported_dataset_is_fit_for_development_only(foreign: Path, tmp_path: Path, version: str) -> None:
    source = foreign
    if version == "v2.1":
        source = tmp_path / "older"
        convert(open_dataset(foreign), source, "v2.1")
    told = import_dataset(source, tmp_path / "out", STATED)
    assert (
        told["training_suitability"] == "development_only"
        and told["sensor_source"] == f"foreign:{STATED.sensor_source}"
    )
    assert open_dataset(tmp_path / "out").version == "v3.0"
    done = verify.verify(tmp_path / "out", own_keys(), "development")
    assert done.predicate["physics_verified"] is False and done.predicate["frame_count"] == 54
    assert done.predicate["inputs"][0]["spdx"] == "CC-BY-4.0" and done.predicate["commercial_use"] == "yes"
    assert "foreign:" in (tmp_path / "out/README.md").read_text()
    for policy in ("production", POLICY):
        assert "training suitability is development_only" in refusals(tmp_path / "out", policy)
        with pytest.raises(BlueprintError):
            delivery.deliver(tmp_path / "out", str(tmp_path / "there"), policy, own_keys(), audit=tmp_path / "audit")
        with pytest.raises(verify.Refused):
            admitted(tmp_path / "out", policy, own_keys())
    assert admitted(tmp_path / "out", "development", own_keys())


@pytest.mark.parametrize("source", ["isaac_sim_replicator", "mujoco", "isaac_sim_replicator 5.1, production"])
def test_whatever_is_stated_of_its_sensors(foreign: Path, tmp_path: Path, source: str) -> None:
    import_dataset(foreign, tmp_path / "out", Stated(source, "CC-BY-4.0"))
    for policy in ("production", POLICY):
        said = refusals(tmp_path / "out", policy)
        assert "does not admit sensors of 'foreign:" in said and "training suitability is development_only" in said


def test_editing_it_afterwards_helps_nobody(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    import_dataset(foreign, out, STATED)
    path = out / verify.ENVELOPE
    envelope = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    raised = {"training_suitability": "production_training", "physics_verified": True}
    statement["predicate"] |= raised | {"frames": [statement["predicate"]["frames"][0] | {"sensor_source": "mujoco"}]}
    path.write_text(json.dumps(envelope | {"payload": base64.b64encode(json.dumps(statement).encode()).decode()}))
    for policy in verify.POLICIES:
        assert "no signature by a trusted key" in refusals(out, policy)
    path.write_text(json.dumps(envelope))
    (out / "meta/info.json").write_text((out / "meta/info.json").read_text() + " ")
    assert "meta/info.json was changed" in refusals(out, "development")
    with pytest.raises(IntegrityError, match="does not hold"):  # nor may it come in again as if nothing had happened
        import_dataset(out, tmp_path / "again", STATED)


def write(name: str, content: str) -> Callable[[Path], object]:
    def do(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content)

    return do


def info(**changes: object) -> Callable[[Path], object]:
    def do(root: Path) -> None:
        path = root / "meta/info.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=1))

    return do


MADE_UP: dict[str, Callable[[Path], object]] = {
    "its sidecar": write("sidecar/scene.json", '{"sensor_source": "mock"}'),
    "its card": write("README.md", "# Hands\n\n**MOCK DATA.** Never train on this.\n"),
    "its metadata": info(data_quality={"sensor_source": "mock_capture"}),
    "a flag of its metadata": info(is_mock=True),
    "a manifest": write("generation_manifest.json", '{"sensors": {"source": "Mock v2"}}'),
    "a flag of its episodes": write("meta/notes.jsonl", '{"episode_index": 0, "is_mock": true}\n'),
}


@pytest.mark.parametrize("where", MADE_UP)
def test_what_says_of_itself_that_it_is_made_up_is_not_imported(foreign: Path, tmp_path: Path, where: str) -> None:
    MADE_UP[where](foreign)
    with pytest.raises(IntegrityError, match="sensor data is made up"):
        import_dataset(foreign, tmp_path / "out", STATED)
    assert not (tmp_path / "out").exists()


def test_made_up_by_its_name_or_by_who_imports_it(foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="sensor data is made up"):
        import_dataset(foreign, tmp_path / "out", Stated("mock", "MIT"))
    (tmp_path / "MOCK_dataset").symlink_to(foreign)
    with pytest.raises(IntegrityError, match="sensor data is made up"):
        import_dataset(tmp_path / "MOCK_dataset", tmp_path / "out", STATED)


def test_words_that_only_contain_it_are_no_such_claim(foreign: Path, tmp_path: Path) -> None:
    info(is_mock=False, scene="a hammock")(foreign)
    assert import_dataset(foreign, tmp_path / "out", STATED)["training_suitability"] == "development_only"


def test_broken_linked_or_unstated_data_is_refused(foreign: Path, tmp_path: Path) -> None:
    for stated in (Stated(" ", "MIT"), Stated("webcam", "")):
        with pytest.raises(InputError, match="on what terms"):
            import_dataset(foreign, tmp_path / "out", stated)
    (foreign / "extra").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        import_dataset(foreign, tmp_path / "out", STATED)
    (foreign / "extra").unlink()
    info(fps=FPS + 5)(foreign)
    with pytest.raises(InputError, match="is broken"):
        import_dataset(foreign, tmp_path / "out", STATED)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_one_of_ours_keeps_its_certificate(foreign: Path, tmp_path: Path) -> None:
    create_key(tmp_path / "lab.pem")
    sign(foreign, SignerFile(tmp_path / "lab.pem"))
    with pytest.raises(IntegrityError, match="does not hold"):  # who is that?
        import_dataset(foreign, tmp_path / "out", STATED)
    told = import_dataset(foreign, tmp_path / "out", STATED, [tmp_path / "lab.pub"])
    assert told["training_suitability"] == POLICY and told["sensor_source"] == "mujoco"
    assert (tmp_path / "out" / verify.ENVELOPE).read_bytes() == (foreign / verify.ENVELOPE).read_bytes()
    verify.verify(tmp_path / "out", [verify.read_public_key(tmp_path / "lab.pub")], POLICY)
