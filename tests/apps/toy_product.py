"""A pipeline with the names of the real one that makes its files from nothing."""

from __future__ import annotations

from pathlib import Path

from blueprint.backends.protocols import Simulator
from blueprint.core.artifact import Artifact, Config
from blueprint.core.errors import InfeasibleError
from blueprint.core.stage import stage
from blueprint.model.artifacts import Source


class Scanned(Artifact):
    text: str


class Scened(Artifact):
    pass


class Certified(Artifact):
    pass


class Reported(Artifact):
    pass


class SimSceneConfig(Config):
    colour: str = "red"
    seed: int = 0


class CertificateConfig(Config):
    possible: bool = True


@stage(version="1")
def scan(source: Source, out: Path) -> Scanned:
    return Scanned(text=Path(source.location, "note.txt").read_text())


@stage(version="1")
def simscene(scan: Scanned, simulator: Simulator, cfg: SimSceneConfig, out: Path) -> Scened:
    (out / ".thumbs").mkdir()
    for name in ("scene.xml", "scene.usda", "scene.glb", ".thumbs/scene.png"):
        (out / name).write_text("<mujoco/>" if name == "scene.xml" else f"{scan.text} {cfg.colour}")
    (out / "assets").mkdir()
    (out / "assets" / "mesh.obj").write_text(cfg.colour)
    return Scened()


@stage(version="1")
def certificate(scene: Scened, cfg: CertificateConfig, out: Path) -> Certified:
    if not cfg.possible:
        raise InfeasibleError("no episode succeeded", "give it more tries")
    (out / "certificate.json").write_text('{"subject": {}}')
    return Certified()


@stage(version="1")
def report(certificate: Certified, scene: Scened, out: Path) -> Reported:
    (out / "report").mkdir()
    (out / "report" / "index.html").write_text("<html></html>")
    return Reported()


STAGES = (scan, simscene, certificate, report)
