"""WebDataset: tar shards by split, a sample per frame, as trainers shuffle them. Equal datasets give equal bytes.

A frame goes with the actions from it on, because a shuffled stream cannot look ahead (RDT-2's shards are made so).
An episode lies in one shard, in order. Files of a sample: docs/exports.md.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from blueprint.formats.exports import Converted
from blueprint.formats.exports.steps import Demo, demos, origin, pictures
from blueprint.formats.images import encode_jpeg
from blueprint.formats.lerobot.read import ForeignDataset

CHUNK = 100  # actions a sample holds: the longest horizon in use (ACT); a trainer slices what it needs
SHARD_BYTES = 2**28  # the next episode begins a new shard when one is larger


def write(dataset: ForeignDataset, out: Path) -> Converted:
    """`PART-NNNNNN.tar` and `dataset.json`. What no split names is train."""
    done, shards, samples = Converted(recoded=list(dataset.videos)), dict[str, list[Path]](), dict[str, int]()
    for demo in demos(dataset):
        paths = shards.setdefault(demo.part, [])
        if not paths or paths[-1].stat().st_size > SHARD_BYTES:
            paths.append(out / f"{demo.part}-{len(paths):06d}.tar")
        with tarfile.open(paths[-1], "a", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in _files(dataset, demo):
                entry = tarfile.TarInfo(name)  # of user 0, at time 0
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        samples[demo.part] = samples.get(demo.part, 0) + demo.episode.length
        done.episodes, done.frames = done.episodes + 1, done.frames + demo.episode.length
    told = origin(dataset) | {"chunk": CHUNK, "samples": samples}
    (out / "dataset.json").write_text(json.dumps(told, indent=1) + "\n")
    return done


def _files(dataset: ForeignDataset, demo: Demo) -> Iterator[tuple[str, bytes]]:
    """(name, content), those of a sample in one run. The extension is all behind the first dot."""
    episode, shown = demo.episode, pictures(dataset, demo.episode)
    for k in range(episode.length):
        sample = f"episode_{episode.index:06d}_{k:06d}"
        for key, frames in shown.items():
            yield f"{sample}.{key}.jpg", encode_jpeg(next(frames))
        ahead = np.arange(k, k + CHUNK)
        arrays = {key: values[k] for key, values in demo.observation.items()} | {"reward": demo.reward[k]}
        arrays |= {
            "action": demo.action[np.minimum(ahead, episode.length - 1)],
            "action_is_pad": ahead >= episode.length,
        }
        for key, values in arrays.items():
            file = io.BytesIO()
            np.save(file, np.asarray(values), allow_pickle=False)
            yield f"{sample}.{key}.npy", file.getvalue()
        rest = {"episode_index": episode.index, "frame_index": k, "timestamp": k / dataset.fps, "task": demo.texts[k]}
        yield f"{sample}.json", json.dumps(rest | {"done": bool(demo.done[k])}).encode()
