"""Laws of the reconstruction service: client and server for real on 127.0.0.1, with faults between them."""

from __future__ import annotations

import hashlib
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from blueprint.apps.serving.service import ServiceOptions, create_app, serve
from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
from blueprint.backends.reconstructor_service import ReconstructorService
from blueprint.core.errors import BackendError, InputError, IntegrityError, SettingsError, TransientError
from blueprint.core.files import file_digest, files_below
from blueprint.core.report import reporting
from blueprint.formats import images
from blueprint.formats import service as wire
from blueprint.model.artifacts import Capture, Reconstruction, Source
from blueprint.model.capture import Camera, Frame
from blueprint.stages.capture import CaptureConfig
from blueprint.stages.capture import capture as stages_capture
from blueprint.stages.reconstruction import ReconstructionConfig
from toy_service import Events, Faults, free_port, install_toy, serving, toy_service
from toy_table import shoot, write_capture

CFG = ReconstructorConfig()
TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Faults]]:
    folder = tmp_path_factory.mktemp("service")
    install_toy(folder / "toy", patch)
    with toy_service(folder / "jobs", free_port(), token=TOKEN, terms="house rules", most_upload_bytes=10**6) as served:
        yield served


def capture(folder: Path, name: str = "fine") -> Capture:
    """One flat picture; `origin` names the file in which the toy counts its runs."""
    images.write_color(folder / "in/color/a.png", np.full((64, 64, 3), 9, np.uint8))
    camera = Camera(width=64, height=64, fx=60, fy=60, cx=32, cy=32)
    frames = (Frame(id="a", color="color/a.png", camera=camera),)
    return Capture(name=name, kind="rgb", frames=frames, origin=str(folder / "runs")).save(folder / "in")


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines()) if (folder / "runs").exists() else 0


def client(url: str, **more: str) -> ReconstructorService:
    names = {"URL": url, "TOKEN": TOKEN, "PATIENCE_S": "3", "TIMEOUT_S": "120"} | more
    return ReconstructorService({f"BLUEPRINT_SERVICE_{key}": value for key, value in names.items()})


def ask(url: str, folder: Path, name: str = "fine", **more: str) -> Reconstruction:
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    return client(url, **more).reconstruct(capture(folder, name), CFG, out)


def test_the_result_says_what_ran_elsewhere_and_carries_its_files(service: tuple, tmp_path: Path) -> None:
    backend, events = client(service[0]), Events()
    (tmp_path / "out").mkdir()
    with reporting(events):
        made = backend.reconstruct(capture(tmp_path), CFG, tmp_path / "out").save(tmp_path / "out")
    assert np.load(made.path(made.views[0].depth)).sum() == 64 * 64
    assert Reconstruction.load(tmp_path / "out") == made
    assert "toy 7" in backend.version and service[0] in backend.version
    assert made.licences["toy weights CC BY-NC"] is False
    assert any("toy 7" in text and "house rules" in text and fine for text, fine in made.licences.items())
    assert TOKEN not in (tmp_path / "out/artifact.json").read_text() + backend.version
    assert any("toy warning" in fields["message"] for kind, fields in events.seen if kind == "warning")


@pytest.mark.parametrize(
    "plan",
    [
        [("/health", "500"), ("/jobs", "503"), ("/jobs", "500")],
        [("/result", "cut"), ("/result", "cut")],
        [("/result", "flip")],
    ],
    ids=["500s", "cut download", "damaged download"],
)
def test_passing_faults_are_survived_and_the_job_runs_once(service: tuple, tmp_path: Path, plan: list) -> None:
    url, faults = service
    faults.plan[:] = plan
    made = ask(url, tmp_path)
    assert faults.plan == [] and runs(tmp_path) == 1
    assert made.path(made.views[0].labels).is_file()


@pytest.mark.parametrize(
    ("plan", "error", "word"),
    [
        ([("/result", "flip")] * 4, IntegrityError, "digest"),
        ([("/result", "endless")], IntegrityError, "more than"),
        ([("/health", "307")], BackendError, "redirects"),
        ([("/health", "garbage")], BackendError, "no Health"),
        ([("/health", "500")] * 30, TransientError, "500"),
    ],
    ids=["wrong digest", "endless download", "redirect", "not a service", "always 500"],
)
def test_lasting_faults_end_in_an_error_that_names_them(
    service: tuple, tmp_path: Path, plan: list, error: type, word: str
) -> None:
    url, faults = service
    faults.plan[:] = list(plan)
    with pytest.raises(error, match=word):
        ask(url, tmp_path)
    faults.plan.clear()
    assert list((tmp_path / "out").iterdir()) == []  # nothing half-done is left


def test_errors_of_the_remote_reconstructor_come_back_as_they_are(service: tuple, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table in sight") as caught:
        ask(service[0], tmp_path, "fails")
    assert caught.value.hint == "lift the camera"
    with pytest.raises(Exception, match="exit code 3"):
        ask(service[0], tmp_path, "crashes")
    with pytest.raises(IntegrityError, match=r"lacks labels/a.png"):
        ask(service[0], tmp_path, "lacks")
    with pytest.raises(BackendError, match="refuses the token"):
        ask(service[0], tmp_path, TOKEN="wrong")
    with pytest.raises(BackendError, match="no reconstructor 'magic'"):
        client(service[0]).reconstruct(capture(tmp_path, "fine"), CFG.model_copy(update={"remote": "magic"}), tmp_path)


def test_a_job_outlives_its_client_and_its_server(tmp_path: Path, service: tuple) -> None:
    port = free_port()
    with toy_service(tmp_path / "jobs", port) as (url, faults), httpx.Client(base_url=url) as http:
        faults.plan[:] = [("/result", "503")] * 20
        with pytest.raises(TransientError, match="503"):
            ask(url, tmp_path, PATIENCE_S="0.5")
        body, headers = upload(tmp_path / "b", "slow")
        path = "/v1/jobs/" + http.post("/v1/jobs", content=body, headers=headers).json()["id"]
        _until(lambda: runs(tmp_path / "b") == 1)
    with toy_service(tmp_path / "jobs", port) as (url, _), httpx.Client(base_url=url) as http:
        _until(lambda: runs(tmp_path / "b") == 2)  # begun again by the next worker
        http.delete(path)
        assert ask(url, tmp_path).up_source == "toy"
        assert runs(tmp_path) == 1  # made before the first server ended


def test_a_job_that_kills_its_worker_is_given_up(service: tuple, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="died 3 times"):
        ask(service[0], tmp_path, "kills")
    assert runs(tmp_path) == 3
    assert ask(service[0], tmp_path).up_source == "toy"


def _until(true: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def upload(folder: Path, name: str) -> tuple[bytes, dict[str, str]]:
    request = wire.Request(reconstructor="toy")
    texts = {wire.REQUEST_FILE: request.model_dump_json().encode()}
    packed = wire.pack(capture(folder, name).root, folder / "up.zip", below="capture/", extra=texts)
    headers = {"Authorization": f"Bearer {TOKEN}", wire.KEY_HEADER: f"{name}-0123456789abcdef"}
    return (folder / "up.zip").read_bytes(), {**headers, wire.SHA_HEADER: packed.sha256}


def test_a_served_reconstructor_makes_what_it_makes_at_home(tmp_path: Path) -> None:
    shot = shoot()
    source = write_capture(tmp_path / "source", shot)
    seen = stages_capture.function(
        Source(location=str(source), digest="x"), CaptureConfig(), tmp_path / "capture"
    ).save(tmp_path / "capture")
    (tmp_path / "home").mkdir()
    (tmp_path / "away").mkdir()
    home = ReconstructorRgbd().reconstruct(seen, CFG, tmp_path / "home")  # type: ignore[arg-type]
    app = create_app(["rgbd"], ServiceOptions(tmp_path / "jobs"))
    with serving(app, free_port()) as url:
        cfg = ReconstructionConfig()  # has settings that are the stage's own
        away = client(url, TOKEN="").reconstruct(seen, cfg, tmp_path / "away")  # type: ignore[arg-type]
    assert away.model_copy(update={"licences": {}}).model_dump() == home.model_dump()
    made = {name: file_digest(tmp_path / "home" / name) for name in files_below(tmp_path / "home")}
    assert made == {
        n: file_digest(tmp_path / "away" / n) for n in files_below(tmp_path / "away") if n != "artifact.json"
    }


def test_the_protocol_by_hand(service: tuple, tmp_path: Path) -> None:
    """What another client sees: statuses, idempotency, progress, cancelling, limits."""
    with httpx.Client(base_url=service[0] + "/v1") as http:
        body, headers = upload(tmp_path, "slow")
        assert http.post("/jobs", content=body).status_code == 401
        wrong = {**headers, wire.SHA_HEADER: "0" * 64}
        assert http.post("/jobs", content=body, headers=wrong).status_code == 400
        first = http.post("/jobs", content=body, headers=headers)
        assert first.status_code == 202 and first.json()["status"] == "queued"
        again = http.post("/jobs", content=body, headers=headers)
        assert again.json()["id"] == first.json()["id"] == wire.job_id(headers[wire.KEY_HEADER])
        other, others = upload(tmp_path / "other", "fine")
        clash = {**others, wire.KEY_HEADER: headers[wire.KEY_HEADER]}
        assert http.post("/jobs", content=other, headers=clash).status_code == 409
        path = f"/jobs/{first.json()['id']}"
        _until(lambda: (http.get(path, headers=headers).json()["progress"] or {}).get("done", 0) > 3)
        assert http.get(f"{path}/result", headers=headers).status_code == 409
        http.delete(path, headers=headers)
        _until(lambda: http.get(path, headers=headers).json()["status"] == "cancelled")
        http.delete(path, headers=headers)
        assert http.get(path, headers=headers).status_code == 404
        assert http.get("/jobs/..%2F..%2Fetc", headers=headers).status_code in (404, 422)
        big = bytes(10**6 + 1)
        sized = {**headers, wire.SHA_HEADER: "0" * 64}
        assert http.post("/jobs", content=big, headers=sized).status_code == 413


def test_the_queue_is_bounded_and_a_full_one_is_waited_for(tmp_path: Path, service: tuple) -> None:
    with toy_service(tmp_path / "jobs", free_port(), most_queued=1) as (url, _), httpx.Client(base_url=url) as http:
        body, headers = upload(tmp_path, "slow")
        job = http.post("/v1/jobs", content=body, headers=headers).json()["id"]
        second, other = upload(tmp_path / "b", "fine")
        full = http.post("/v1/jobs", content=second, headers=other)
        assert full.status_code == 429 and int(full.headers["retry-after"]) > 0
        threading.Timer(0.5, lambda: httpx.delete(f"{url}/v1/jobs/{job}")).start()
        assert ask(url, tmp_path / "c").up_source == "toy"


def _finished(http: httpx.Client, job: str) -> dict:
    _until(lambda: http.get(f"/jobs/{job}").json()["status"] not in ("queued", "running"))
    return http.get(f"/jobs/{job}").json()


def test_hostile_uploads_fail_as_jobs_and_harm_nothing(service: tuple, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as package:
        package.writestr("../../escaped", "x")
    for i, body in enumerate(((tmp_path / "bad.zip").read_bytes(), b"no zip at all")):
        sha = hashlib.sha256(body).hexdigest()
        headers = {"Authorization": f"Bearer {TOKEN}", wire.SHA_HEADER: sha, wire.KEY_HEADER: f"hostile-{i}-{sha}"}
        with httpx.Client(base_url=service[0] + "/v1", headers=headers) as http:
            job = _finished(http, http.post("/jobs", content=body).json()["id"])
        assert job["status"] == "failed" and job["error"]["type"] == "InputError"
    assert not list(tmp_path.parent.rglob("escaped"))


def test_hostile_results_are_refused(tmp_path: Path) -> None:
    made = wire.pack(capture(tmp_path).root, tmp_path / "a.zip")
    assert wire.pack(capture(tmp_path).root, tmp_path / "b.zip") == made  # equal content, equal bytes
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as package:
        package.writestr("/etc/evil", "x")
    with pytest.raises(InputError, match="leave the folder"):
        wire.read_result(tmp_path / "a.zip", tmp_path / "x", Reconstruction)
    with pytest.raises(IntegrityError, match="not a Reconstruction"):
        wire.read_result(tmp_path / "b.zip", tmp_path / "y", Reconstruction)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"URL": ""}, "BLUEPRINT_SERVICE_URL"),
        ({"URL": "file:///etc/passwd"}, "BLUEPRINT_SERVICE_URL"),
        ({"URL": "http://user:secret@host"}, "BLUEPRINT_SERVICE_URL"),
        ({"URL": "http://gpu.example"}, "clear text"),
        ({"TIMEOUT_S": "soon"}, "TIMEOUT_S"),
    ],
)
def test_a_wrong_set_up_is_refused_before_anything_is_sent(tmp_path: Path, more: dict, word: str) -> None:
    with pytest.raises(BackendError, match=word):
        ask("http://127.0.0.1:9", tmp_path, **more)


def test_a_dead_server_is_a_transient_error(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be reached"):
        ask(f"http://127.0.0.1:{free_port()}", tmp_path, PATIENCE_S="0.5")


def test_strangers_never_reach_a_service_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="without a token"):
        serve(["rgbd"], "0.0.0.0", 8790, ServiceOptions(tmp_path))
    with pytest.raises(SettingsError, match="cannot offer service"):
        create_app(["service"], ServiceOptions(tmp_path))


def test_the_openapi_document_names_every_step(tmp_path: Path) -> None:
    document = create_app(["rgbd"], ServiceOptions(tmp_path)).openapi()
    steps = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert steps == {
        ("/v1/health", "get"),
        ("/v1/jobs", "post"),
        ("/v1/jobs/{job_id}", "get"),
        ("/v1/jobs/{job_id}", "delete"),
        ("/v1/jobs/{job_id}/result", "get"),
    }
    assert document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"].keys() == {wire.ZIP}
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
