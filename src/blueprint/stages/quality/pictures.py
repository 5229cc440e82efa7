"""What the pictures of an episode are like: sharp, lit, and with the task's object in view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.formats.lerobot.stats import sampled_frames
from blueprint.formats.video.coding import decode_color, decode_gray
from blueprint.model.artifacts import Recording
from blueprint.model.episode import CameraTrack, EpisodeRecord, RecordedEpisode
from blueprint.model.quality import Term

SEEN = 0.0005  # share of a picture that an object must fill to count as seen


def terms(recording: Recording, recorded: RecordedEpisode, record: EpisodeRecord, samples: int) -> Iterator[Term]:
    """Looked at in `samples` pictures per camera, evenly spread."""
    chosen = _chosen(recorded.frames, samples)
    sharp, bright, seen = [], [], np.zeros(len(chosen), dtype=bool)
    for track in recorded.tracks:
        pictures = _frames(recording.path(track.video), chosen)
        sharp.append(np.mean([sharpness(picture) for picture in pictures]))
        bright += [float(picture.mean()) / 255 for picture in pictures]
        seen |= _in_view(recording, track, record.task.object, chosen)
    labelled = any(track.segmentation for track in recorded.tracks)
    yield Term(
        name="sharpness", group="visual", text="variance of the Laplacian, mean of the cameras",
        measured=float(np.mean(sharp)), unit="", good=60.0, bad=5.0,
    )  # fmt: skip
    yield Term(
        name="darkest", group="visual", text="mean brightness of the darkest picture",
        measured=min(bright), unit="", good=0.15, bad=0.03,
    )  # fmt: skip
    yield Term(
        name="brightest", group="visual", text="mean brightness of the brightest picture",
        measured=max(bright), unit="", good=0.85, bad=0.97,
    )  # fmt: skip
    if labelled:
        yield Term(
            name="object_in_view", group="visual", text="share of the pictures in which some camera sees the object",
            measured=float(seen.mean()), unit="", good=0.8, bad=0.2,
        )  # fmt: skip


def _chosen(frames: int, samples: int) -> list[int]:
    every = sampled_frames(frames)
    return sorted({int(every[i]) for i in np.linspace(0, len(every) - 1, samples).round().astype(int)})


def _frames(video: Path, chosen: list[int]) -> list[NDArray[np.uint8]]:
    wanted = set(chosen)
    return [picture for k, picture in enumerate(decode_color(video)) if k in wanted]


def sharpness(picture: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000, "Diatom autofocusing")."""
    import cv2

    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def _in_view(recording: Recording, track: CameraTrack, name: str, chosen: list[int]) -> NDArray[np.bool_]:
    """(len(chosen),) whether the camera's labels show the object; False where there are none."""
    values = [v for v, known in recording.segment_names.items() if known == name]
    if track.segmentation is None or not values:
        return np.zeros(len(chosen), dtype=bool)
    path, wanted = recording.path(track.segmentation), set(chosen)
    if path.suffix == ".npz":
        kinds = enumerate(instance.name for instance in recording.instances)
        values = [v for v, known in kinds if known.partition(":")[0] == name]  # or what stands in its place
        with np.load(path, allow_pickle=False) as arrays:
            labels = arrays["instance"][chosen]
    else:
        labels = [labels for k, labels in enumerate(decode_gray(path)) if k in wanted]
    return np.array([float(np.isin(frame, values).mean()) > SEEN for frame in labels])
