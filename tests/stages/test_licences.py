"""Laws of licences: what is not surely permitted is not said to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import toy_episodes
from blueprint import verify
from blueprint.backends.reconstruction.checkpoints import MODELS, UNKNOWN
from blueprint.model.artifacts import Articulation, Capture, Library, Licences, Physics, Reconstruction
from blueprint.model.scene import ObjectAsset
from blueprint.model.variation import Swap
from blueprint.stages.licences import PERMISSIVE, judged, licences

Made = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """No more of the artifacts than the stage looks at."""
    folder = tmp_path_factory.mktemp("toy")
    thing = ObjectAsset.model_construct(name="box", dims_source=("measured",) * 3, joints=())
    return {
        "capture": Capture(name="toy", kind="rgbd", frames=(), licence="CC0-1.0"),
        "reconstruction": Reconstruction.model_construct(licences={}),
        "articulation": Articulation.model_construct(objects=(thing,)),
        "physics": Physics.model_construct().bind(folder),
        "workcell": toy_episodes.make_workcell(folder / "workcell"),
        "taskset": toy_episodes.make_taskset(folder / "taskset"),
        "library": Library(),
    }


def of(made: Made, out: Path, **changes: object) -> Licences:
    inputs = {name: made[name] for name in licences.inputs} | changes
    return licences.function(**inputs, out=out)


def found(artifact: Licences, what: str) -> list[tuple[str, str]]:
    return [(one.name, one.commercial) for one in artifact.inputs if one.what == what]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", ("MIT", "yes")),
        ("CC BY 4.0", ("CC-BY-4.0", "yes")),
        ("apache-2.0", ("Apache-2.0", "yes")),
        ("MIT AND CC0-1.0", ("MIT AND CC0-1.0", "yes")),
        ("MIT OR GPL-3.0-only", ("MIT OR GPL-3.0-only", "yes")),
        ("", ("", "unknown")),
        ("MIT AND", ("", "unknown")),
        ("MIT (repository; origin of the pictures not stated)", ("", "unknown")),
        ("Apache-2.0 / see LICENSE of repository", ("", "unknown")),
        ("MIT AND LicenseRef-lab", ("", "unknown")),
        ("MIT OR LicenseRef-lab", ("", "unknown")),
        ("CC-BY-NC-4.0", ("", "no")),
        ("CC BY-NC-SA 4.0 and the terms of its data sets", ("", "no")),
        ("MIT OR CC-BY-NC-4.0", ("", "no")),
        ("VGGT research licence", ("", "no")),
        ("for non-commercial use", ("", "no")),
    ],
)
def test_a_text_is_a_permission_only_as_a_known_expression(text: str, expected: tuple[str, str]) -> None:
    assert judged(text) == expected


def test_no_listed_licence_forbids_commercial_use() -> None:
    assert not [name for name in PERMISSIVE if "NC" in name or judged(name)[1] != "yes"]


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [(["yes", "yes"], "yes"), (["yes", "unknown"], "unknown"), (["unknown", "no", "yes"], "no"), ([], "unknown"),
     (["Yes"], "unknown"), (["yes", ""], "unknown")],
)  # fmt: skip
def test_the_weakest_input_decides(verdicts: list[str], whole: str) -> None:
    assert verify.commercial_use(verdicts) == whole


def test_every_input_has_a_row(made: Made, tmp_path: Path) -> None:
    plain = of(made, tmp_path)
    assert found(plain, "capture") == [("toy", "yes")] and found(plain, "robot") == [("Toy Arm", "yes")]
    assert found(plain, "texture") and plain.commercial_use == "yes"
    assert not found(plain, "checkpoint") and not found(plain, "service")


@pytest.mark.parametrize("licence", ["", "all rights reserved", "MIT (repository)"])
def test_a_capture_of_unclear_terms_leaves_the_whole_unknown(made: Made, tmp_path: Path, licence: str) -> None:
    capture = made["capture"].model_copy(update={"licence": licence})
    assert of(made, tmp_path, capture=capture).commercial_use == "unknown"
    things = tuple(one.model_copy(update={"dims_source": ("given",) * 3}) for one in made["articulation"].objects)
    given = of(
        made, tmp_path, capture=capture, articulation=made["articulation"].model_copy(update={"objects": things})
    )
    assert [use for _, use in found(given, "asset")] == ["unknown"]


@pytest.mark.parametrize(("licence", "whole"), [("CC-BY-4.0", "yes"), ("", "unknown"), ("CC-BY-NC-4.0", "no")])
def test_what_may_stand_in_an_episode_has_a_row_on_its_own_terms(
    made: Made, tmp_path: Path, licence: str, whole: str
) -> None:
    swap = Swap.model_construct(source="shop", licence=licence)
    library = Library.model_construct(similar={"box": {"shop_mug": swap}, "can": {"shop_mug": swap}})
    result = of(made, tmp_path, library=library)
    assert found(result, "asset") == [("shop_mug", whole)]
    assert result.commercial_use == whole


@pytest.mark.parametrize("model", MODELS)
def test_checkpoints_bring_the_terms_of_their_table(made: Made, tmp_path: Path, model: str) -> None:
    for checkpoint in MODELS[model].checkpoints:
        used = {f"{checkpoint.name}: {checkpoint.licence}": checkpoint.commercial}
        result = of(made, tmp_path, reconstruction=made["reconstruction"].model_copy(update={"licences": used}))
        assert found(result, "checkpoint") == [(checkpoint.name, "yes" if checkpoint.commercial else "no")]
        assert result.commercial_use == ("yes" if checkpoint.commercial else "no")


@pytest.mark.parametrize(
    ("said", "use"),
    [
        ({f"/my/model.pt: {UNKNOWN}": False}, "unknown"),
        ({"3D-RE-GEN: models under their own licences, not stated in its output": False}, "unknown"),
        ({"remote reconstruction by toy 7: house rules": True}, "yes"),
        ({"remote reconstruction by toy 7: ": True}, "unknown"),
        ({"remote reconstruction by toy 7: CC-BY-NC-4.0": True}, "no"),
        ({"remote reconstruction by toy 7: house rules": False}, "no"),
        ({"a name alone": True}, "unknown"),
    ],
)
def test_what_took_part_in_the_reconstruction(made: Made, tmp_path: Path, said: dict, use: str) -> None:
    result = of(made, tmp_path, reconstruction=made["reconstruction"].model_copy(update={"licences": said}))
    assert result.commercial_use == use


def test_a_service_that_was_asked_leaves_the_whole_unknown(made: Made, tmp_path: Path) -> None:
    for kind, name, file in (("estimator", "physics", "estimates.json"), ("proposer", "taskset", "proposals.json")):
        record = made[name].root / file
        record.write_text(json.dumps({kind: "gemini 2.5", "cost_usd": 0.0}))
        result = of(made, tmp_path)
        record.unlink()
        assert found(result, "service") == [(f"{kind}: gemini 2.5", "unknown")]
        assert result.commercial_use == "unknown"
