"""`blueprint hero`: a path-traced picture or clip of an episode, for people to look at."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blueprint.backends.cameras_mjcf import with_camera
from blueprint.backends.protocols import Renderer
from blueprint.backends.renderer_hero import RendererHero as RendererHero
from blueprint.core.errors import InputError
from blueprint.core.report import log
from blueprint.core.store import Scene
from blueprint.formats.video.coding import color_writer
from blueprint.model.artifacts import Episodes, SimScene, Workcell
from blueprint.stages.recording import chosen_cameras
from blueprint.stages.report import films


def draw(asked: argparse.Namespace, renderer: Renderer) -> dict[str, Any]:
    """Write `asked.out`: a picture (.png), or a clip (.mp4) from `asked.frame` on; returns what it shows, and who drew.

    Without a camera of the workcell, one that has robot and objects in view, seen from the side of `asked.eye` or of
    the capture's first camera. Raises InputError for an episode, frame, camera or kind of file that there is not.
    """
    scene = Scene.existing(asked.scene)
    episodes, workcell = scene.made("episodes", Episodes), scene.made("workcell", Workcell)
    record = next((r for r in episodes.episodes if r.states and asked.episode in (None, r.index)), None)
    if record is None:
        raise InputError(f"{asked.scene} has no such episode with states", "leave out --episode: its first one")
    states = films.states_of(episodes, record)["qpos"]
    clip = asked.out.suffix == ".mp4"
    first = asked.frame if asked.frame is not None else 0 if clip else len(states) // 2
    states = states[first:][: asked.frames if clip else 1]
    if first < 0 or not len(states) or not (clip or asked.out.suffix == ".png"):
        raise InputError(f"cannot write frame {first} into {asked.out}", "give a .png or an .mp4, and a frame it has")
    model = episodes.path(record.mjcf) if record.mjcf else workcell.path(workcell.mjcf)
    size = (asked.width, asked.height)
    with tempfile.TemporaryDirectory() as folder:
        if asked.camera:
            (camera,) = chosen_cameras(workcell, (asked.camera,))
        else:
            capture = scene.made("simscene", SimScene).cameras[0].T_world_camera
            eye = np.array(asked.eye or [row[3] for row in capture[:3]])
            camera, view = films.FILM_CAMERA, films.film_view(workcell, eye, size[0] / size[1])
            text = with_camera(model, camera, *view, films.FILM_FOVY_DEG)
            model = Path(folder) / "hero.xml"
            model.write_text(text)
        drawn = renderer.render(model, states, (camera,), *size, depth=False, segmentation=False, samples=asked.samples)
        if clip:
            with color_writer(asked.out, width=size[0], height=size[1], fps=episodes.fps, crf=18) as film:
                for number, images in enumerate(drawn, start=1):
                    film.add(images[camera].color)
                    log(f"{number} of {len(states)} frames")
        else:
            Image.fromarray(next(iter(drawn))[camera].color).save(asked.out)
    said = {"file": str(asked.out), "episode": record.index, "frame": first, "frames": len(states), "camera": camera}
    return {**said, "renderer": f"{renderer.name} {renderer.version}", "sensor_source": renderer.sensor_source}
