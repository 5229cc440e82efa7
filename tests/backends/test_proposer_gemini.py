"""The Gemini proposer against a client that answers as google-genai does; what it suggests is checked like all others.

The real service was not asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blueprint.backends.gemini import MODEL
from blueprint.backends.proposer_gemini import ProposerGemini
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.backends import available
from blueprint.core.errors import BackendError, InfeasibleError
from blueprint.model.artifacts import SimScene, Workcell
from blueprint.model.scene import SettleTest
from blueprint.stages.tasks import PROPOSALS, TasksConfig, tasks
from toy_cell import make_workcell


def step(family: str, thing: str, target: str = "", joint: str = "") -> dict[str, str]:
    return {"family": family, "object": thing, "target": target, "joint": joint}


GOOD = {"instruction": "Pick up the tomato soup can.", "steps": [step("lift", "soup_can")]}
VAGUE = {"instruction": "tidy up", "steps": [step("place_beside", "soup_can", "cracker_box")]}
BAD = {"instruction": "put the box in the can", "steps": [step("place_into", "cracker_box", "soup_can")]}
UNKNOWN = {"instruction": "open the fridge", "steps": [step("open", "fridge", "", "door")]}
LONG = {
    "instruction": "put the cracker box next to the bowl, then pick up the tomato soup can",
    "steps": [step("place_beside", "cracker_box", "bowl"), step("lift", "soup_can")],
}


class Models:
    """Checks the request as the service does, then answers."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer
        self.question = ""

    def generate_content(self, *, model: str, contents: list[Any], config: dict[str, Any]) -> Any:
        assert model == MODEL and config["response_mime_type"] == "application/json"
        schema = config["response_schema"]["items"]["properties"]["steps"]["items"]["properties"]
        assert "" not in schema["family"]["enum"] and "" not in schema["object"]["enum"], "the service refuses these"
        (words,) = contents[0]["parts"]
        self.question = words["text"]
        usage = SimpleNamespace(prompt_token_count=900, candidates_token_count=200, thoughts_token_count=50)
        return SimpleNamespace(text=self.answer, usage_metadata=usage)


@pytest.fixture(scope="module")
def workcell(tmp_path_factory: pytest.TempPathFactory) -> Workcell:
    return make_workcell(tmp_path_factory.mktemp("cell") / "workcell")


def offered(workcell: Workcell, out: Path, monkeypatch: pytest.MonkeyPatch, answer: Any) -> Any:
    models = Models(answer if isinstance(answer, str | None) else json.dumps(answer))
    monkeypatch.setattr(
        "blueprint.backends.proposer_gemini.connect", lambda asker, without: SimpleNamespace(models=models)
    )
    settle = SettleTest(
        simulator="toy", seconds=5, objects=(), max_drift_m=0, max_drift_deg=0, max_penetration_m=0, passed=True
    )
    scene = SimScene(bodies=workcell.bodies, cameras=(), table_polygon=workcell.table_polygon, settle=settle)
    cfg = TasksConfig(proposer="gemini", proposals=9)
    return models, tasks(workcell, scene, SimulatorMujoco(), cfg, out)


def test_only_what_can_be_done_becomes_a_task(
    workcell: Workcell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, made = offered(workcell, tmp_path, monkeypatch, [GOOD, VAGUE, BAD, UNKNOWN, LONG])
    assert "soup_can" in models.question and "Suggest 9 " in models.question
    by_id = {task.id: task for task in made.tasks}
    assert by_id["gemini-000"].instruction == "Pick up the tomato soup can"
    beside = by_id["gemini-001"]
    assert beside.goal.target == "cracker_box" and beside.goal.radius_m > 0
    assert "tomato soup can" in beside.instruction, "a sentence that names nothing is not kept"
    assert [s.goal.family for s in by_id["gemini-004"].steps] == ["place_beside", "lift"]
    assert set(made.refused) == {"gemini-002", "gemini-003"}
    assert "opening" in made.refused["gemini-002"]
    assert "nothing of the kind" in made.refused["gemini-003"]


def test_of_two_things_that_are_called_alike_it_is_told_which_is_which(
    workcell: Workcell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = tuple(body.model_copy(update={"text": "Mug"}) for body in workcell.bodies)
    alike = workcell.model_copy(update={"bodies": bodies}).bind(workcell.root)
    which = ("leftmost mug", "second from the left mug", "third from the left mug", "rightmost mug")
    said = [f"pick up the {name}" for name in (*which, "mug")]
    answer = [{"instruction": text, "steps": [step("lift", "soup_can")]} for text in said]
    models, made = offered(alike, tmp_path, monkeypatch, answer)
    objects = json.loads(models.question.split("z up: ")[1].split("\n")[0])
    called = {row["name"]: row["called"] for row in objects}
    assert {*called.values()} == {*which}
    assert all(called["soup_can"] in task.instruction for task in made.tasks)
    assert sum(task.instruction in said for task in made.tasks) >= 1, "its own sentence is kept"


def test_the_answer_and_its_cost_are_kept(workcell: Workcell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered(workcell, tmp_path, monkeypatch, [GOOD])
    record = json.loads((tmp_path / PROPOSALS).read_text())
    assert record["cost_usd"] == pytest.approx(900 * 0.3e-6 + 250 * 2.5e-6)
    assert record["tasks"][0]["steps"][0]["object"] == "soup_can"


def test_without_one_feasible_suggestion_it_stops_and_says_why(
    workcell: Workcell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InfeasibleError, match="opening"):
        offered(workcell, tmp_path, monkeypatch, [BAD])


@pytest.mark.parametrize("answer", [None, "", "sorry", "{}x", "[1]", '[{"instruction": "x", "steps": []}]'])
def test_answers_of_another_form_are_refused(
    workcell: Workcell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    with pytest.raises(BackendError, match="not what was asked"):
        offered(workcell, tmp_path, monkeypatch, answer)


def test_without_a_key_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BackendError, match="no API key"):
        ProposerGemini().suggest((), {}, 1)
    assert "gemini" in available("proposer")
