"""Episodes for training processes while they are made (protocol 1, docs/streaming.md).

    blueprint stream DIR --port 8791

The client pulls: the server reads finished episodes from the scene's folder when it is asked for them, keeps none in
memory and drops none, so a slow client costs nothing but its own time, and generation never waits. A cursor is the
index of the next episode under the stream's key, and means the same after a crash of either side.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as FromPath
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field

from blueprint.apps.serving.stream_episodes import (
    About,
    EpisodeHeader,
    FileHeader,
    Page,
    Produced,
    StreamHeader,
    about,
    episode_header,
    latest_key,
)
from blueprint.core.artifact import Model
from blueprint.core.errors import BlueprintError, InputError, IntegrityError, SettingsError
from blueprint.core.store import Scene
from blueprint.verify import DEFAULT_POLICY, LEVELS, POLICIES, Policy, made_up

PROTOCOL, PREFIX = "1", "/v1"
SHA_HEADER = "X-Content-SHA256"
MOST_PER_PAGE, LONGEST_WAIT_S, LOOK_S = 64, 30.0, 0.2
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class StreamOptions:
    """token: what clients must bear, "" = nobody is asked (loopback only); policy: release policy, see docs/trust.md"""

    token: str = ""
    policy: str = DEFAULT_POLICY


@dataclass
class _Server:
    scene: Scene
    options: StreamOptions
    streams: dict[str, Produced] = field(default_factory=dict)

    def produced(self, key: str) -> Produced:
        """Raises InputError when there is nothing under the key."""
        stream = self.streams.setdefault(key, Produced(self.scene, key))
        _ = stream.root
        return stream

    def about(self, stream: Produced) -> About:
        return about(self.scene, stream, PROTOCOL)

    def fit(self, stream: Produced) -> About:
        """What stands about the stream, if its episodes may be served. Raises HTTPException 403."""
        found = self.about(stream)
        against = {name: _against(policy, found.header) for name, policy in POLICIES.items()}
        if reasons := against[self.options.policy]:
            said = "; ".join([*reasons, *found.header.reasons])
            others = " or ".join(f"--policy {name}" for name, why in against.items() if not why) or "no policy"
            text = f"policy {self.options.policy} does not release these episodes: {said}. Released under: {others}"
            raise HTTPException(403, text)
        return found


def _against(policy: Policy, header: StreamHeader) -> list[str]:
    """Why a policy does not admit a stream; empty if it does."""
    level, source = header.suitability, header.sensor_source
    return [
        *made_up([source]),
        *([f"sensors are {source!r}"] if policy.sensors is not None and source not in policy.sensors else []),
        *([f"they are {level}"] if LEVELS.index(level) < LEVELS.index(policy.least) else []),
    ]


class Feedback(Model):
    """What a trainer says of the episodes. losses: task id -> loss; wanted: task id -> how much more of it it wants."""

    trainer: str = Field(min_length=1, max_length=80)
    step: int = Field(ge=0)
    losses: dict[str, float] = Field(default_factory=dict)
    wanted: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    note: str = Field(default="", max_length=1000)


class Told(Feedback):
    """Feedback as it is kept. time: [s] since 1970; key: of the stream it is about."""

    time: float
    key: str


def _server(request: Request) -> _Server:
    return request.app.state.server


def _authorise(
    server: Annotated[_Server, Depends(_server)],
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> None:
    token = server.options.token
    if token and not hmac.compare_digest((given.credentials if given else "").encode(), token.encode()):
        raise HTTPException(401, "give the stream's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})


def _stream(server: Annotated[_Server, Depends(_server)], key: Annotated[str, FromPath(pattern="^[0-9a-f]{20}$")]):
    return server.produced(key)


Here = Annotated[_Server, Depends(_server)]
Stream = Annotated[Produced, Depends(_stream)]
Index = Annotated[int, FromPath(ge=0)]
_BYTES = {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
_REFUSED: dict[int | str, dict[str, Any]] = {403: {"description": "made-up or unverified data is not served"}}

router = APIRouter(
    prefix=PREFIX, dependencies=[Depends(_authorise)], responses={401: {"description": "no or a wrong token"}}
)


@router.get("/stream")
def header(server: Here) -> StreamHeader:
    """What the scene's latest episodes are, and the key to ask for them."""
    key = latest_key(server.scene)
    return about(server.scene, server.produced(key) if key else None, PROTOCOL).header


@router.get("/streams/{key}/episodes", responses=_REFUSED)
async def episodes(
    server: Here,
    stream: Stream,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_PER_PAGE)] = 16,
    wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0.0,
    cameras: Annotated[tuple[str, ...], Query()] = (),
) -> Page:
    """The successful episodes from cursor `after` on, in the order of their indices; waits up to `wait_s` for one.

    cameras: whose pictures the client wants: it gets no episode before they are recorded
    """
    until = time.monotonic() + wait_s
    while True:
        page = await asyncio.to_thread(_page, server, stream, after, limit, frozenset(cameras))
        if page.next > after or page.end or time.monotonic() >= until:
            return page
        await asyncio.sleep(LOOK_S)


def _page(server: _Server, stream: Produced, after: int, limit: int, cameras: frozenset[str]) -> Page:
    found: list[EpisodeHeader] = []
    around: About | None = None
    cursor, state = after, stream.state
    while len(found) < limit and (record := stream.record(cursor)) is not None:
        if record.success:
            around = around or server.fit(stream)
            head = episode_header(stream, record, around)
            if not cameras <= set(head.videos) and not (around.pictures and around.pictures.made):
                state = stream.worked_on
                break
            found.append(head)
        cursor += 1
    return Page(key=stream.key, state=state, episodes=tuple(found), next=cursor, end=stream.ended(cursor))


@router.get("/streams/{key}/episodes/{index}", responses=_REFUSED)
def episode(server: Here, stream: Stream, index: Index) -> EpisodeHeader:
    """One episode again, e.g. to refill a shuffling buffer."""
    return _header(server, stream, index)[0]


@router.get("/streams/{key}/episodes/{index}/states.npz", response_class=Response, responses={**_BYTES, **_REFUSED})
def states(server: Here, stream: Stream, index: Index) -> Response:
    """States and actions of an episode."""
    head, _ = _header(server, stream, index)
    record = stream.record(index)
    assert record is not None and record.states is not None
    return _checked(stream.root / record.states, head.states)


@router.get("/streams/{key}/episodes/{index}/{camera}.mp4", response_class=Response, responses={**_BYTES, **_REFUSED})
def video(server: Here, stream: Stream, index: Index, camera: str, look: Annotated[int, Query(ge=0)] = 0) -> Response:
    """What a camera recorded of an episode, under one of its looks."""
    head, around = _header(server, stream, index)
    if not head.looks and stream.worked_on == "running":
        raise HTTPException(503, "ask again: its pictures are being recorded, or the stage has just ended")
    if around.pictures is None or look >= len(head.looks) or camera not in head.looks[look]:
        there = f"{', '.join(head.videos)}, {len(head.looks)} look(s)" if head.videos else "none yet"
        raise HTTPException(404, f"no video {camera!r} of look {look}; there are: {there}")
    track = next(track for track in around.pictures.of(index)[look].tracks if track.camera == camera)
    return _checked(around.pictures.root / track.video, head.looks[look][camera])


def _header(server: _Server, stream: Produced, index: int) -> tuple[EpisodeHeader, About]:
    record = stream.record(index)
    if record is None or not record.success:
        raise HTTPException(404, f"episode {index} is not there" if record is None else f"episode {index} failed")
    around = server.fit(stream)
    return episode_header(stream, record, around), around


def _checked(path: Path, head: FileHeader) -> Response:
    """The file's bytes, if they are still those of its header."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != head.sha256:
        raise IntegrityError(f"{path} is not what it was when it was made", "find what changed it: blueprint check DIR")
    return Response(content, media_type="application/octet-stream", headers={SHA_HEADER: digest})


@router.post("/streams/{key}/feedback", status_code=201, responses={422: {"description": "a task that is not there"}})
def tell(server: Here, stream: Stream, feedback: Feedback) -> Told:
    """Keep what a trainer says, for people to read: nothing acts on it yet."""
    unknown = {*feedback.losses, *feedback.wanted} - set(server.about(stream).header.tasks)
    if unknown:
        raise HTTPException(422, f"no task {', '.join(sorted(unknown))} in this scene")
    told = Told(**feedback.model_dump(), time=round(time.time(), 3), key=stream.key)
    journal = _journal(server.scene)
    journal.parent.mkdir(exist_ok=True)
    with journal.open("a") as file:
        file.write(told.model_dump_json() + "\n")
    return told


@router.get("/feedback")
def told(server: Here, most: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[Told]:
    """The last words of trainers, the newest last."""
    journal = _journal(server.scene)
    lines = journal.read_text().splitlines()[-most:] if journal.exists() else []
    return [Told.model_validate(json.loads(line)) for line in lines if line.endswith("}")]  # a crash may cut the last


def _journal(scene: Scene) -> Path:
    return scene.root / "stream" / "feedback.jsonl"


# ------------------------------------------------------------------ the app


def create_app(folder: Path, options: StreamOptions) -> FastAPI:
    """The server of one scene. Raises InputError when `folder` is none."""
    app = FastAPI(
        title="Blueprint episode stream",
        version=PROTOCOL,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    app.state.server = _Server(Scene.existing(folder), options)
    app.include_router(router)
    app.add_exception_handler(BlueprintError, _as_answer)
    app.add_exception_handler(FileNotFoundError, _as_moved)
    return app


def _as_answer(request: Request, error: Exception) -> JSONResponse:
    """Something asked for that is not there is the client's matter (404), damage is ours (500)."""
    assert isinstance(error, BlueprintError)
    code = 404 if isinstance(error, InputError) else 500
    return JSONResponse({"detail": error.message, "hint": error.hint}, status_code=code)


def _as_moved(request: Request, error: Exception) -> JSONResponse:
    """The stage has just ended and its folder got its final name: clients ask again."""
    return JSONResponse({"detail": f"ask again: {error}"}, status_code=503)


def serve(folder: Path, host: str, port: int, policy: str = DEFAULT_POLICY) -> None:
    """Serve until interrupted. Raises SettingsError when strangers could reach the stream without a token."""
    import uvicorn

    token = os.environ.get("BLUEPRINT_STREAM_TOKEN", "")
    if not token and host not in _LOOPBACK:
        raise SettingsError(f"the stream would listen on {host} without a token", "export BLUEPRINT_STREAM_TOKEN=...")
    app = create_app(folder, StreamOptions(token, policy))
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)
