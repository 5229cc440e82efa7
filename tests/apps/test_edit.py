"""The page of `blueprint edit`: what it shows, what it saves, whom it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import toys
from blueprint.apps.edit import create_app
from blueprint.core import settings
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.store import Scene
from blueprint.pipeline import STAGES

EDITS = {"edits": [{"op": "remove", "object": "bowl"}], "known": {"soup_can": {"size_m": {"z": 0.1}}}}


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene directory whose reconstruction is the toys'."""
    root = tmp_path / "scene"
    folder = Scene(root).folder("reconstruction", "key")
    toys.make_reconstruction(folder)
    monkeypatch.setattr(Scene, "current", lambda self: {"reconstruction": "key"})
    (root / "request.json").write_text("{}")
    return root


@pytest.fixture
def client(scene: Path) -> TestClient:
    return TestClient(create_app(scene))


def test_the_page_and_its_pictures_are_served(client: TestClient) -> None:
    assert "<!doctype html>" in client.get("/").text
    shown = client.get("/api/scene").json()
    assert {thing["name"] for thing in shown["objects"]} == {toy.name for toy in toys.toys()}
    picture = np.array(Image.open(io.BytesIO(client.get("/api/frame/0/labels").content)))
    assert picture.shape == (shown["frames"][0]["height"], shown["frames"][0]["width"], 4)
    assert len(np.unique(picture.reshape(-1, 4), axis=0)) == 1 + len(shown["objects"])
    assert client.get("/api/frame/7/color").status_code == 404


def test_saved_edits_are_a_layer_of_settings(client: TestClient, scene: Path) -> None:
    (scene / settings.EDITS).write_text(json.dumps({"reconstruction": {"boxes": "boxes.json"}}))
    assert client.put("/api/edits", json=EDITS).json() == {"edits": 2}
    chosen = settings.load(STAGES, scene=scene, environ={})
    section = chosen.sections["reconstruction"].model_dump(mode="json")
    assert section["edits"] == EDITS["edits"]
    assert section["boxes"] == "boxes.json"  # what a person wrote beside them stays
    assert chosen.sections["assets"].model_dump(mode="json")["known"]["soup_can"]["size_m"] == {"z": 0.1}
    assert client.get("/api/scene").json()["edits"] == EDITS["edits"]


def test_edits_that_are_none_are_refused_and_nothing_is_written(client: TestClient, scene: Path) -> None:
    answer = client.put("/api/edits", json={"edits": [{"op": "explode", "object": "bowl"}]})
    assert answer.status_code == 422 and "explode" in answer.json()["detail"]
    assert not (scene / settings.EDITS).exists()


def test_only_the_page_itself_may_change_anything(client: TestClient) -> None:
    assert client.put("/api/edits", json=EDITS, headers={"origin": "http://elsewhere.example"}).status_code == 403
    assert client.get("/api/scene", headers={"host": "elsewhere.example"}).status_code == 400


def test_a_scene_without_a_reconstruction_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{}")
    client = TestClient(create_app(tmp_path), raise_server_exceptions=True)
    with pytest.raises(InputError, match="no reconstruction yet"):
        client.get("/api/scene")


def test_a_broken_edits_file_is_named(tmp_path: Path) -> None:
    (tmp_path / settings.EDITS).write_text("{")
    with pytest.raises(SettingsError, match="is not JSON"):
        settings.load(STAGES, scene=tmp_path, environ={})
