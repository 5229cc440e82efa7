"""`blueprint edit DIR`: a local page on which a person corrects what was found, and the pipeline runs again from there.

The page writes DIR/edits.json, which is a layer of settings: a script may write the same file.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from PIL import Image
from pydantic import Field, ValidationError
from starlette.middleware.trustedhost import TrustedHostMiddleware

from blueprint.core.artifact import Model
from blueprint.core.errors import InputError
from blueprint.core.files import write_atomic
from blueprint.core.settings import EDITS, read_edits
from blueprint.core.store import Scene
from blueprint.model.artifacts import Assets, Reconstruction
from blueprint.model.edit import Edit, KnownShape
from blueprint.stages.report.pictures import rgb_of

PAGE = Path(__file__).with_name("page.html")
UNTIL = ("assets", "simscene")
LAST_LINES = 12


class Edits(Model):
    """What the page sends. edits: of the masks, in order; known: object name -> what is known of its shape."""

    edits: tuple[Edit, ...] = ()
    known: dict[str, KnownShape] = Field(default_factory=dict)


def serve(scene: Path, port: int) -> None:
    """Serve on this machine only until interrupted. Raises InputError when the scene has no reconstruction yet."""
    import uvicorn

    folder_of(Scene.existing(scene), "reconstruction")
    uvicorn.run(create_app(scene), host="127.0.0.1", port=port, log_level="warning")


def create_app(root: Path) -> FastAPI:
    scene, reruns = Scene.existing(root), _Reruns(root)
    app = FastAPI(title="blueprint edit", docs_url=None, redoc_url=None)
    # a page from elsewhere that points its own name at 127.0.0.1 is not answered
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "testserver"])

    @app.middleware("http")
    async def own_page_only(request: Request, proceed: Any) -> Response:
        origin = request.headers.get("origin")
        if request.method != "GET" and origin and origin.split("//")[-1] != request.headers.get("host"):
            return JSONResponse({"detail": "only the page itself may change anything"}, 403)
        return await proceed(request)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return PAGE.read_text()

    @app.get("/api/scene")
    def describe() -> dict[str, Any]:
        return described(scene)

    @app.get("/api/frame/{index}/color")
    def color(index: int) -> FileResponse:
        made = reconstruction(scene)
        return FileResponse(made.path(_view(made, index).color), media_type="image/png")

    @app.get("/api/frame/{index}/labels")
    def labels(index: int) -> Response:
        made = reconstruction(scene)
        return Response(overlay(made, _view(made, index).labels), media_type="image/png")

    @app.put("/api/edits")
    def save(body: dict[str, Any] = Body()) -> dict[str, int]:  # noqa: B008 - FastAPI's way
        try:
            edits = Edits.model_validate(body)
        except ValidationError as error:
            raise HTTPException(422, f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error
        save_edits(root, edits)
        return {"edits": len(edits.edits) + len(edits.known)}

    @app.post("/api/run/{until}")
    def rerun(until: str) -> dict[str, Any]:
        if until not in UNTIL:
            raise HTTPException(404, f"run until one of: {', '.join(UNTIL)}")
        return reruns.start(scene, until)

    @app.get("/api/run")
    def progress() -> dict[str, Any]:
        return reruns.state()

    return app


# ------------------------------------------------------------------ what the page shows


def folder_of(scene: Scene, stage: str) -> Path:
    """The current result of a stage, which may predate the latest edits. Raises InputError when there is none."""
    key = scene.current().get(stage)
    if key is None:
        raise InputError(
            f"{scene.root} has no {stage} yet", "run it first: blueprint run CAPTURE --scene DIR --until assets"
        )
    return scene.folder(stage, key)


def reconstruction(scene: Scene) -> Reconstruction:
    return Reconstruction.load(folder_of(scene, "reconstruction"))


def described(scene: Scene) -> dict[str, Any]:
    made = reconstruction(scene)
    shapes = Assets.load(folder_of(scene, "assets")) if "assets" in scene.current() else None
    assets = {asset.name: asset for asset in shapes.objects} if shapes else {}
    return {
        "scene": str(scene.root),
        "frames": [{"id": v.frame, "width": v.camera.width, "height": v.camera.height} for v in made.views],
        "objects": [
            {
                "name": instance.name,
                "label": instance.label,
                "text": assets[instance.name].text if instance.name in assets else instance.text,
                "color": "#{:02x}{:02x}{:02x}".format(*rgb_of(index)),
                "pixels": instance.pixels,
                "size_mm": [round(1000 * d) for d in assets[instance.name].dims_m] if instance.name in assets else None,
                "method": assets[instance.name].method if instance.name in assets else "",
            }
            for index, instance in enumerate(made.instances)
        ],
        "dropped": shapes.dropped if shapes else {},
        **saved(scene.root).model_dump(mode="json"),
    }


def overlay(made: Reconstruction, file: str) -> bytes:
    """The label image as a PNG (H, W, 4): every object in its colour, half transparent."""
    labels = np.array(Image.open(made.path(file)))
    rgba = np.zeros((*labels.shape, 4), np.uint8)
    for index, instance in enumerate(made.instances):
        if instance.label:
            rgba[labels == instance.label] = (*rgb_of(index), 130)
    data = io.BytesIO()
    Image.fromarray(rgba).save(data, "PNG")
    return data.getvalue()


def _view(made: Reconstruction, index: int) -> Any:
    if not 0 <= index < len(made.views):
        raise HTTPException(404, f"there are {len(made.views)} frames")
    return made.views[index]


# ------------------------------------------------------------------ edits and reruns


def saved(root: Path) -> Edits:
    """What edits.json holds of the page's own settings."""
    values = read_edits(root)
    return Edits(
        edits=values.get("reconstruction", {}).get("edits", ()), known=values.get("assets", {}).get("known", {})
    )


def save_edits(root: Path, edits: Edits) -> None:
    """Write the page's own settings to edits.json; what else a person put there stays."""
    values = read_edits(root)
    value = edits.model_dump(mode="json", exclude_none=True)
    values.setdefault("reconstruction", {})["edits"] = value["edits"]
    values.setdefault("assets", {})["known"] = value["known"]
    write_atomic(root / EDITS, (json.dumps(values, indent=1) + "\n").encode())


class _Reruns:
    """One `blueprint run` at a time, in a process of its own."""

    def __init__(self, root: Path) -> None:
        self._log = root / "runs" / "edit.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, scene: Scene, until: str) -> dict[str, Any]:
        if self._process is not None and self._process.poll() is None:
            raise HTTPException(409, "a run is under way")
        request = scene.request()
        command = [sys.executable, "-m", "blueprint.apps.cli", "run", request["capture"], "--scene", str(scene.root)]
        command += ["--until", until, *(word for text in request["sets"] for word in ("--set", text))]
        command += ["--config", request["config"]] if request["config"] else []
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self.state()

    def state(self) -> dict[str, Any]:
        if self._process is None:
            return {"state": "idle", "lines": []}
        code = self._process.poll()
        lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return {"state": "running" if code is None else "done" if code == 0 else "failed", "lines": lines}
