"""Pull episodes from a `blueprint stream` server, in order, from a cursor; survive its crashes; trust no byte."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.verify import LEVELS

WAIT_S, TIMEOUT_S, PAUSE_S, LONGEST_PAUSE_S = 20.0, 60.0, 0.2, 5.0


class StreamError(Exception):
    """The stream cannot go on: the server refuses, is gone for too long, or sends what it should not."""


@dataclass(frozen=True)
class Episode:
    """One verified episode.

    header: as the server gives it (task, instruction, sensor_source, suitability, ...)
    arrays: of its states file: state (T, n) float32, action (T, n) float32, qpos (T, nq), time (T,) [s], ...
    images: camera -> (T, H, W, 3) uint8, of the cameras asked for, under look number `look`; last: of its looks
    """

    index: int
    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    look: int = 0

    @property
    def last(self) -> bool:
        return not self.images or self.look + 1 == len(self.header["looks"])

    @property
    def frames(self) -> int:
        return len(self.arrays["action"])


class EpisodeStream:
    """The episodes of one stream.

    url: of the server, e.g. http://127.0.0.1:8791; token: if it asks for one
    key: of the stream, None = the server's latest, fixed at the first answer
    cameras: whose videos come with each episode: it comes as soon as it is recorded, once for each look
    least: refuse data that is fit for less than this; patience_s: how long a server, or who makes episodes, may be gone
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        key: str | None = None,
        cameras: Sequence[str] = (),
        least: str = "physics_verified",
        patience_s: float = 120.0,
    ) -> None:
        self.url, self.key, self.cameras, self.least = url.rstrip("/"), key, tuple(cameras), LEVELS.index(least)
        self.patience_s, self._token = patience_s, token

    # ------------------------------------------------------------------ what there is

    def header(self) -> dict[str, Any]:
        """The server's account of its latest stream."""
        return self._json("/v1/stream")

    def follow(self, cursor: int = 0, *, wanted: Callable[[int], bool] | None = None) -> Iterator[Episode]:
        """Episodes from `cursor` on, each as soon as it is made; ends when the stage has ended and all are given.

        wanted: which indices to load, e.g. a worker's share. The cursor after an episode is its `index` + 1, with
        several looks after the `last` of them.
        Raises StreamError, also when nobody has worked on the stream for `patience_s`.
        """
        alive = time.monotonic()
        while True:
            page = self.page(cursor)
            for head in page["episodes"]:
                if wanted is None or wanted(head["index"]):
                    for look in range(max(1, len(head["looks"])) if self.cameras else 1):
                        yield self.load(head, look)
            if page["end"]:
                return
            if page["next"] > cursor or page.get("state") != "stopped":
                alive = time.monotonic()  # also after a reader that took its time
            elif time.monotonic() - alive > self.patience_s:
                said = f"nobody has worked on stream {self.key} for {self.patience_s:g} s; it stands at {cursor}"
                raise StreamError(f"{said}. Run the scene again, or ask {self.url}/v1/stream for its latest key")
            cursor = page["next"]

    def page(self, cursor: int) -> dict[str, Any]:
        """The next headers, waited for; `next` is the cursor after them, `end` is true when no more can come."""
        asked = {"after": cursor, "limit": 16, "wait_s": min(WAIT_S, self.patience_s), "cameras": self.cameras}
        return self._json(f"/v1/streams/{self._fixed_key()}/episodes?{urllib.parse.urlencode(asked, doseq=True)}")

    def episode(self, index: int, look: int = 0) -> Episode:
        """One episode by its index, with the pictures of one of its looks."""
        return self.load(self._json(f"/v1/streams/{self._fixed_key()}/episodes/{index}"), look)

    def load(self, head: Mapping[str, Any], look: int = 0) -> Episode:
        """Fetch and check the files of an episode. Raises StreamError when it is not what was asked for."""
        if LEVELS.index(head["suitability"]) < self.least:
            raise StreamError(f"episode {head['index']} is {head['suitability']}, wanted {LEVELS[self.least]}")
        missing = set(self.cameras) - set(head["videos"])
        if missing:
            raise StreamError(f"episode {head['index']} has no pictures of {', '.join(sorted(missing))} (yet)")
        with np.load(io.BytesIO(self._file(head["states"])), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if len(arrays["action"]) != head["frames"]:
            raise StreamError(f"episode {head['index']} has {len(arrays['action'])} frames, not {head['frames']}")
        images = {camera: _decoded(self._file(head["looks"][look][camera])) for camera in self.cameras}
        return Episode(head["index"], head, arrays, images, look)

    def tell(
        self,
        step: int,
        losses: Mapping[str, float] | None = None,
        wanted: Mapping[str, float] | None = None,
        *,
        trainer: str = "trainer",
        note: str = "",
    ) -> None:
        """Send losses and wishes by task id; they are kept beside the scene for its makers to read."""
        words = {"trainer": trainer, "step": step, "losses": losses or {}, "wanted": wanted or {}, "note": note}
        self._request(f"/v1/streams/{self._fixed_key()}/feedback", json.dumps(words).encode())

    # ------------------------------------------------------------------ the wire

    def _fixed_key(self) -> str:
        end = time.monotonic() + self.patience_s
        while self.key is None:
            self.key = self.header()["key"]
            if self.key is None:
                if time.monotonic() > end:
                    raise StreamError(f"{self.url} has no episodes after {self.patience_s:g} s of waiting")
                time.sleep(1.0)
        return self.key

    def _json(self, path: str) -> Any:
        return json.loads(self._request(path))

    def _file(self, head: Mapping[str, Any]) -> bytes:
        content = self._request(head["url"])
        if len(content) != head["size"] or hashlib.sha256(content).hexdigest() != head["sha256"]:
            raise StreamError(f"{head['url']} does not have the SHA-256 that its header says")
        return content

    def _request(self, path: str, body: bytes | None = None) -> bytes:
        """Try again while the server is gone, for at most `patience_s`: a restarted one goes on where it was."""
        end, pause = time.monotonic() + self.patience_s, PAUSE_S
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        while True:
            request = urllib.request.Request(self.url + path, data=body, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                    return answer.read()
            except urllib.error.HTTPError as error:
                if error.code not in (502, 503, 504) or time.monotonic() > end:
                    raise StreamError(f"{path}: {error.code} {error.read().decode(errors='replace')}") from error
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                if time.monotonic() > end:
                    raise StreamError(f"{self.url} did not answer for {self.patience_s:g} s: {error}") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


def _decoded(content: bytes) -> NDArray[np.uint8]:
    """(T, H, W, 3) RGB frames of a video."""
    import av

    with av.open(io.BytesIO(content), "r") as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    return np.stack(frames).astype(np.uint8, copy=False)
