"""A reconstruction service on 127.0.0.1 for tests: a toy reconstructor, and faults between it and its client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from blueprint.apps.serving.service import ServiceOptions, create_app

TOY = """
import os, time
from pathlib import Path
from blueprint.core.errors import InputError
from blueprint.core.report import progress, warn
from blueprint.formats import images
from blueprint.model.artifacts import Reconstruction
from blueprint.model.scene import CameraView, Instance, Support
import numpy as np

class Toy:
    name, version = "toy", "7"
    def reconstruct(self, capture, cfg, out):
        with Path(capture.origin).open("a") as log:
            log.write("ran\\n")
        if capture.name == "fails":
            raise InputError("no table in sight", "lift the camera")
        if capture.name == "crashes":
            os._exit(3)
        if capture.name == "kills":
            os.kill(os.getppid(), 9)
            time.sleep(30)
        if capture.name == "slow":
            for _ in progress(range(600), 600, "toy: waiting"):
                time.sleep(0.05)
        warn("toy warning")
        color = np.random.default_rng(cfg.seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        images.write_color(out / "color/a.png", color)
        images.write_depth(out / "depth/a.npy", np.ones((64, 64)))
        if capture.name != "lacks":
            images.write_labels(out / "labels/a.png", np.ones((64, 64), int))
        view = CameraView(frame="a", camera=capture.frames[0].camera, T_world_camera=np.eye(4).tolist(),
                          color="color/a.png", depth="depth/a.npy", labels="labels/a.png")
        return Reconstruction(
            views=(view,), depth_sigma_m=0.001, up_source="toy", licences={"toy weights CC BY-NC": False},
            support=Support(polygon=((0, 0), (1, 0), (0, 1)), residual_m=0.001, thickness_m=0.02, texture=None,
                            texture_bounds=(0, 0, 1, 1), seen_fraction=1.0),
            instances=(Instance(name="thing", label=1, text="thing", text_source="rule", mask_source="auto",
                                pixels=4096, confidence=1.0),))
"""


def install_toy(folder: Path, environ: Any) -> None:
    """Make reconstructor `toy` known to this process and to those it starts. environ: pytest's monkeypatch."""
    info = folder / "toy_service_backend-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "toy_service_backend.py").write_text(TOY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-service-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[blueprint.backends.reconstructor]\ntoy = toy_service_backend:Toy\n")
    environ.syspath_prepend(str(folder))
    environ.setenv("PYTHONPATH", str(folder))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Events:
    """Reporter that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        self.seen.append((kind, fields))


class Faults:
    """ASGI middleware. plan: faults to inject, in turn, into the requests whose path ends so: (end, fault)."""

    def __init__(self, app: Any) -> None:
        self.app, self.plan, self.seen = app, list[tuple[str, str]](), list[str]()

    def next(self, method: str, path: str) -> str:
        self.seen.append(f"{method} {path}")
        for i, (end, fault) in enumerate(self.plan):
            if path.endswith(end):
                del self.plan[i]
                return fault
        return ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        fault = self.next(scope["method"], scope["path"]) if scope["type"] == "http" else ""
        if fault in ("500", "307", "503"):
            headers = [(b"location", b"http://169.254.169.254/secrets")] if fault == "307" else []
            await send({"type": "http.response.start", "status": int(fault), "headers": headers})
            await send({"type": "http.response.body", "body": b"oops"})
            return

        async def damaged(message: Any) -> None:
            body = message.get("body", b"")
            if fault == "garbage" and message["type"] == "http.response.body":
                body = b"<html>hello</html>".ljust(len(body))[: len(body)]
            if fault == "flip" and body:
                body = bytes([body[0] ^ 1]) + body[1:]
            if fault == "cut" and body:
                await send({**message, "body": body[: len(body) // 2], "more_body": True})
                raise ConnectionError("cut by the test")
            if fault == "endless" and message["type"] == "http.response.start":
                headers = [(k, v) for k, v in message["headers"] if k != b"content-length"]
                message = {**message, "headers": headers}
            if fault == "endless" and body:
                for _ in range(200):
                    await send({**message, "body": bytes(2**16), "more_body": True})
            await send({**message, "body": body} if "body" in message else message)

        await self.app(scope, receive, damaged if fault else send)


@contextmanager
def serving(app: Callable[..., Any], port: int) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def toy_service(folder: Path, port: int, **options: Any) -> Iterator[tuple[str, Faults]]:
    app = Faults(create_app(["toy"], ServiceOptions(folder, **options)))
    with serving(app, port) as url:
        yield url, app
