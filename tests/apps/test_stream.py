"""Laws of the episode stream: generator, server and client as real processes, with kills between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from blueprint.apps.serving.stream import StreamOptions, create_app, serve
from blueprint.client import EpisodeStream, StreamError
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.store import KeyParts, Scene
from blueprint.verify import DEFAULT_POLICY
from toy_service import free_port
from toy_stream import (
    FAILED,
    FRAMES,
    TASKS,
    begin,
    begin_recording,
    color_of,
    draw,
    end_recording,
    frames_of,
    make,
    parts_of,
    produce,
    record,
)

TOY = Path(__file__).parents[1] / "toy_stream.py"
COUNT = 8
SUCCESSFUL = [index for index in range(COUNT) if index != FAILED]


@contextmanager
def running(*command: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def server(scene: Path, port: int) -> tuple[object, ...]:
    return ("-m", "blueprint.apps.cli", "stream", scene, "--port", port, "--policy", "physics_verified")


def answering(port: int) -> EpisodeStream:
    """A client of the server there, once it answers: its patience covers the start."""
    return EpisodeStream(f"http://127.0.0.1:{port}", patience_s=60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    produce(begin(root, COUNT), COUNT)
    return root


def browser(root: Path, **options: str) -> TestClient:
    options = {"policy": "physics_verified"} | options
    return TestClient(create_app(root, StreamOptions(**options)), raise_server_exceptions=False)  # type: ignore[arg-type]


class Local(EpisodeStream):
    """A client that asks the app without a socket between them."""

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__("http://inside", **options)
        self._inside = browser(root)

    def _request(self, path: str, body: bytes | None = None) -> bytes:
        answer = self._inside.get(path)
        if answer.status_code != 200:
            raise StreamError(answer.text)
        return answer.content


def open_gate(root: Path, count: int) -> None:
    """Let the first `count` episodes be made, no more."""
    (root / "gate.new").write_text(str(count))
    (root / "gate.new").rename(root / "gate")


def test_episodes_arrive_while_they_are_made_once_in_order_across_kills_of_the_server(tmp_path: Path) -> None:
    begin(tmp_path, COUNT)
    open_gate(tmp_path, 1)
    port = free_port()
    with running(TOY, tmp_path, COUNT) as generator:
        stream, got = answering(port).follow(), []
        with running(*server(tmp_path, port)) as first:
            for allowed in (2, 4):
                got.append(next(stream))
                open_gate(tmp_path, allowed)
            os.kill(first.pid, signal.SIGKILL)
        with running(*server(tmp_path, port)):
            got.append(next(stream))
            assert generator.poll() is None  # it waits at the gate: what came so far came while it ran
            open_gate(tmp_path, COUNT)
            got += stream
    assert [episode.index for episode in got] == SUCCESSFUL
    assert all(np.array_equal(one.arrays["action"], frames_of(one.index)["action"]) for one in got)


def test_a_killed_client_goes_on_from_its_cursor_and_a_killed_generator_is_waited_for(tmp_path: Path) -> None:
    begin(tmp_path, COUNT)
    open_gate(tmp_path, 4)
    port, seen = free_port(), tmp_path / "seen"
    code = f"""
        import sys
        from blueprint.client import EpisodeStream
        for episode in EpisodeStream("http://127.0.0.1:{port}", patience_s=60).follow(int(sys.argv[1])):
            with open({str(seen)!r}, "a") as file:
                print(episode.index, file=file)
    """
    client = ("-c", textwrap.dedent(code))
    with running(*server(tmp_path, port)):
        with running(TOY, tmp_path, COUNT), running(*client, 0):
            wait_for(lambda: len(lines(seen)) == 3)  # of 0, 1, 3; all are killed now
        assert answering(port).header()["state"] == "stopped"
        open_gate(tmp_path, COUNT)
        with running(*client, int(lines(seen)[-1]) + 1) as second, running(TOY, tmp_path, COUNT):
            assert second.wait(60) == 0
    assert list(map(int, lines(seen))) == SUCCESSFUL


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def wait_for(held: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not held():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def half_made(scene: Scene, parts: KeyParts) -> str:
    """One episode of a stage that goes no further; returns its key."""
    produced = scene.open_partial(parts) / "episodes/000000"
    produced.mkdir(parents=True)
    make(scene.root / "gate", 0, produced)
    return parts.key


def test_a_client_waits_no_longer_than_its_patience_for_episodes_that_nobody_makes(tmp_path: Path) -> None:
    scene = begin(tmp_path, COUNT)
    key = half_made(scene, toy_parts(COUNT))
    for rerun in (False, True):  # somebody at work on other episodes makes none of these
        got, asked = [], time.monotonic()
        with scene.lease() if rerun else nullcontext():
            if rerun:
                other = half_made(scene, toy_parts(COUNT + 1))
                assert browser(tmp_path).get(f"/v1/streams/{other}/episodes").json()["state"] == "running"
            with pytest.raises(StreamError, match=rf"nobody has worked on stream {key} for 0\.5 s; it stands at 1"):
                for episode in Local(tmp_path, key=key, patience_s=0.5).follow():
                    got.append(episode.index)
        assert got == [0] and 0.5 < time.monotonic() - asked < 5


def test_a_client_has_patience_as_long_as_somebody_works(tmp_path: Path) -> None:
    scene = begin(tmp_path, COUNT)
    key = half_made(scene, toy_parts(COUNT))
    stream = Local(tmp_path, patience_s=0.3).follow()
    assert next(stream).index == 0
    with scene.lease():
        threading.Timer(1.5, half_made_next, (scene, key)).start()
        assert next(stream).index == 1


def toy_parts(count: int) -> KeyParts:
    return parts_of("episodes", {"simulator": "mujoco"}, count=count)


def half_made_next(scene: Scene, key: str) -> None:
    items = scene.partial("episodes", key) / "episodes"
    (items / ".000001.partial").mkdir()
    make(scene.root / "gate", 1, items / ".000001.partial")
    (items / ".000001.partial").rename(items / "000001")


def test_two_clients_see_the_same_and_a_slow_one_holds_up_nobody(tmp_path: Path) -> None:
    begin(tmp_path, COUNT)
    port = free_port()
    with running(*server(tmp_path, port)):
        slow = answering(port).follow()
        with running(TOY, tmp_path, COUNT) as generator:
            held = [next(slow)]
            assert generator.wait(60) == 0  # it ends while the slow client holds its first episode
        quick = list(answering(port).follow())
        held += slow
        assert answering(port).header()["state"] == "finished"
    assert [episode.index for episode in held] == [episode.index for episode in quick] == SUCCESSFUL
    assert [episode.header for episode in held] == [episode.header for episode in quick]


def test_the_header_says_what_the_data_is(finished: Path) -> None:
    about = browser(finished).get("/v1/stream").json()
    assert (about["sensor_source"], about["suitability"], about["certified"]) == ("mujoco", "physics_verified", False)
    assert (about["state"], about["expected"], set(about["tasks"])) == ("finished", COUNT, {task.id for task in TASKS})
    page = browser(finished).get(f"/v1/streams/{about['key']}/episodes").json()
    assert page["end"] and page["next"] == COUNT
    assert {episode["suitability"] for episode in page["episodes"]} == {"physics_verified"}
    assert [episode["index"] for episode in page["episodes"]] == SUCCESSFUL


def test_unverified_physics_and_failed_episodes_are_refused(finished: Path, tmp_path: Path) -> None:
    produce(begin(tmp_path, 3, "guesswork"), 3, "guesswork")
    key = browser(tmp_path).get("/v1/stream").json()["key"]
    for path in ("", "/0", "/0/states.npz"):
        refused = browser(tmp_path).get(f"/v1/streams/{key}/episodes{path}")
        assert refused.status_code == 403 and "not a known physics engine" in refused.json()["detail"]
    by_name = browser(tmp_path, policy="development").get(f"/v1/streams/{key}/episodes").json()
    with pytest.raises(StreamError, match="development_only"):  # the client has a say too
        EpisodeStream("http://nowhere").load(by_name["episodes"][0])
    key = browser(finished).get("/v1/stream").json()["key"]
    strict = browser(finished, policy=DEFAULT_POLICY).get(f"/v1/streams/{key}/episodes")
    said = strict.json()["detail"]
    assert strict.status_code == 403 and "policy production does not release" in said
    assert said.endswith("Released under: --policy physics_verified or --policy development")
    for path in (f"/{FAILED}", f"/{FAILED}/states.npz", f"/{COUNT}"):
        assert browser(finished).get(f"/v1/streams/{key}/episodes{path}").status_code == 404


def test_a_damaged_file_is_never_served(tmp_path: Path) -> None:
    produce(begin(tmp_path, 2), 2)
    key = browser(tmp_path).get("/v1/stream").json()["key"]
    file = next(tmp_path.glob("artifacts/episodes/*/episodes/000001/states.npz"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    episodes = f"/v1/streams/{key}/episodes"
    assert browser(tmp_path).get(f"{episodes}/0/states.npz").status_code == 200
    answer = browser(tmp_path).get(f"{episodes}/1/states.npz")
    assert answer.status_code == 500 and "is not what it was" in answer.json()["detail"]


def test_feedback_is_kept_across_servers_and_only_of_tasks_that_exist(finished: Path) -> None:
    key = browser(finished).get("/v1/stream").json()["key"]
    words = {"trainer": "bc", "step": 7, "losses": {TASKS[0].id: 0.25}}
    assert browser(finished).post(f"/v1/streams/{key}/feedback", json=words).status_code == 201
    stranger = words | {"losses": {"fly": 1.0}}
    assert browser(finished).post(f"/v1/streams/{key}/feedback", json=stranger).status_code == 422
    kept = browser(finished).get("/v1/feedback").json()
    assert [(one["step"], one["losses"], one["key"]) for one in kept] == [(7, {TASKS[0].id: 0.25}, key)]


def test_strangers_need_a_token_and_a_scene_must_be_one(finished: Path, tmp_path: Path) -> None:
    assert browser(finished, token="secret").get("/v1/stream").status_code == 401
    with_it = browser(finished, token="secret").get("/v1/stream", headers={"Authorization": "Bearer secret"})
    assert with_it.status_code == 200
    with pytest.raises(SettingsError, match="without a token"):
        serve(finished, "0.0.0.0", 1)
    with pytest.raises(InputError, match="not a scene"):
        create_app(tmp_path, StreamOptions())


# ------------------------------------------------------------------ pictures


def videos(root: Path, key: str) -> dict[int, list[dict]]:
    page = browser(root).get(f"/v1/streams/{key}/episodes").json()
    return {head["index"]: head["looks"] for head in page["episodes"]}


def test_pictures_are_served_as_soon_as_all_looks_of_an_episode_are_whole_and_no_half_of_one_ever(
    tmp_path: Path,
) -> None:
    scene = begin(tmp_path, 2)
    produce(scene, 2)
    key = scene.current()["episodes"]
    assert videos(tmp_path, key) == {0: [], 1: []}
    parts, out = begin_recording(scene, looks=2)
    record(scene, parts, out, 0)
    half = out / "episodes/.000001_01.partial"  # the other look of episode 1 is whole, this one is being written
    half.mkdir()
    (out / "episodes/000001_00").mkdir()
    draw((1, 0), 2, out / "episodes/000001_00")
    draw((1, 1), 2, half)
    content = (half / "scene.mp4").read_bytes()
    (half / "scene.mp4").write_bytes(content[: len(content) // 2])
    there = videos(tmp_path, key)
    assert [len(there[0]), len(there[1])] == [2, 0]
    place = f"/v1/streams/{key}/episodes"
    for index, look, code in ((0, 0, 200), (0, 1, 200), (0, 2, 404), (1, 0, 404), (1, 1, 404)):
        assert browser(tmp_path).get(f"{place}/{index}/scene.mp4?look={look}").status_code == code
    (half / "scene.mp4").write_bytes(content)
    half.rename(out / "episodes/000001_01")
    before = videos(tmp_path, key)
    assert len(before[1]) == 2
    end_recording(scene, parts, out, 0, 1)
    assert videos(tmp_path, key) == before, "the same bytes under the same addresses, once the stage has ended"


def test_a_client_gets_every_look_while_the_rest_is_recorded(tmp_path: Path) -> None:
    scene = begin(tmp_path, 2)
    produce(scene, 2)
    with scene.lease():
        parts, out = begin_recording(scene, looks=2)
        record(scene, parts, out, 0)
        threading.Timer(1.0, record, (scene, parts, out, 1)).start()
        stream = Local(tmp_path, cameras=("scene",), patience_s=0.3).follow()
        got = [next(stream) for _ in range(4)]
        assert [(one.index, one.look, one.last) for one in got] == [
            (0, 0, False), (0, 1, True), (1, 0, False), (1, 1, True),
        ]  # fmt: skip
        for one in got:
            picture = one.images["scene"]
            assert picture.shape == (FRAMES, 16, 32, 3)
            assert np.abs(picture.mean(axis=(0, 1, 2)) - color_of(one.index, one.look)).max() < 8
        end_recording(scene, parts, out, 0, 1)
        assert list(stream) == []
    with pytest.raises(StreamError, match="episode 0 has no pictures of side"):
        next(Local(tmp_path, cameras=("side",)).follow())


def test_a_client_of_pictures_that_nobody_draws_does_not_wait_for_ever(tmp_path: Path) -> None:
    scene = begin(tmp_path, 2)
    produce(scene, 2)
    parts, out = begin_recording(scene, looks=1)
    record(scene, parts, out, 0)
    stream = Local(tmp_path, cameras=("scene",), patience_s=0.3).follow()
    assert next(stream).index == 0
    with pytest.raises(StreamError, match="nobody has worked on stream"):
        next(stream)


def test_pictures_of_other_episodes_and_made_up_ones_are_not_served(tmp_path: Path) -> None:
    scene = begin(tmp_path, 2)
    produce(scene, 2)
    key = scene.current()["episodes"]
    foreign = parts_of("recording", {"renderer": "raster"}, {"episodes": "0" * 64}, looks=1)
    record(scene, foreign, scene.open_partial(foreign), 0)
    assert videos(tmp_path, key) == {0: [], 1: []}
    parts, out = begin_recording(scene, looks=1, renderer="mock")
    record(scene, parts, out, 0)
    answer = browser(tmp_path, policy="development").get(f"/v1/streams/{key}/episodes/0/scene.mp4")
    assert answer.status_code == 403 and "made up" in answer.json()["detail"]


def test_the_count_is_known_while_episodes_are_made_however_it_was_set(tmp_path: Path) -> None:
    scene = begin(tmp_path, COUNT)
    scene.set_request(scene.request() | {"sets": []})  # as by a settings file
    half_made(scene, parts_of("episodes", {"simulator": "mujoco"}, count=77))
    about = browser(tmp_path).get("/v1/stream").json()
    assert (about["expected"], about["simulator"], about["state"]) == (77, "mujoco", "stopped")


def test_the_client_is_light() -> None:
    code = "import sys, blueprint.client; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    out = subprocess.run([sys.executable, "-c", "import json; " + code], capture_output=True, text=True, check=True)
    assert not {"torch", "pydantic", "fastapi", "mujoco", "scipy", "av"} & set(json.loads(out.stdout))


# ------------------------------------------------------------------ PyTorch


@pytest.fixture
def local(finished: Path) -> EpisodeStream:
    pytest.importorskip("torch", reason="PyTorch is not installed: the dataset of the client needs it")
    return Local(finished)


def test_a_dataset_gives_every_look_once_and_resumes_among_them(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: the dataset of the client needs it")
    from blueprint.client import StreamDataset

    scene = begin(tmp_path, 2)
    produce(scene, 2)
    parts, out = begin_recording(scene, looks=2)
    record(scene, parts, out, 0, 1)
    end_recording(scene, parts, out, 0, 1)
    stream = Local(tmp_path, cameras=("scene",))
    place = lambda one: tuple(int(one[f"{name}_index"]) for name in ("episode", "look", "frame"))  # noqa: E731
    whole = [place(sample) for sample in StreamDataset(stream, buffer=7, seed=3)]
    assert sorted(whole) == [(i, k, f) for i in range(2) for k in range(2) for f in range(FRAMES)] != whole
    one, other = StreamDataset(stream, buffer=7, seed=3), StreamDataset(stream, buffer=7, seed=99)
    taken = iter(one)
    first = [place(next(taken)) for _ in range(9)]
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    rest = list(other)
    assert first + [place(sample) for sample in rest] == whole
    for sample in rest:
        color = 255 * sample["observation.images.scene"].mean(dim=(1, 2)).numpy()
        assert np.abs(color - color_of(*place(sample)[:2])).max() < 8


def places(samples: list[dict]) -> list[tuple[int, int]]:
    return [(int(sample["episode_index"]), int(sample["frame_index"])) for sample in samples]


def test_frames_come_as_tensors_with_chunks_that_say_where_they_are_padded(local: EpisodeStream) -> None:
    import torch

    from blueprint.client import StreamDataset

    samples = list(StreamDataset(local, horizon=3, extras=("qpos",)))
    assert places(samples) == [(index, frame) for index in SUCCESSFUL for frame in range(FRAMES)]
    last = samples[FRAMES - 1]
    assert last["action"].shape == (3, 8) and last["action"].dtype == torch.float32
    assert last["action_is_pad"].tolist() == [False, True, True]
    assert torch.equal(last["action"][2], torch.from_numpy(frames_of(0)["action"][-1]))
    assert last["task"] == TASKS[0].instruction and last["privileged.qpos"].dtype == torch.float64


def test_a_shuffled_stream_gives_each_frame_once_and_resumes_with_the_very_next(local: EpisodeStream) -> None:
    from blueprint.client import StreamDataset

    whole = places(list(StreamDataset(local, buffer=7, seed=3)))
    assert whole != sorted(whole) and sorted(whole) == [(i, f) for i in SUCCESSFUL for f in range(FRAMES)]
    for stop in (1, 13, len(whole) - 2):
        one, other = StreamDataset(local, buffer=7, seed=3), StreamDataset(local, buffer=7, seed=99)
        taken = iter(one)
        first = places([next(taken) for _ in range(stop)])
        other.load_state_dict(json.loads(json.dumps(one.state_dict())))
        assert first + places(list(other)) == whole


def test_workers_share_the_episodes(finished: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the dataset of the client needs it")
    from blueprint.client import StreamDataset

    port = free_port()
    with running(*server(finished, port)):
        dataset = StreamDataset(answering(port), buffer=4)
        loaded = list(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2))
    assert sorted(places(loaded)) == [(index, frame) for index in SUCCESSFUL for frame in range(FRAMES)]
