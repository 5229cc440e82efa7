"""Bar: a dataset that goes v2.1 -> v3.0 -> v2.1 comes back as it was, and v3.0 -> v2.1 -> v3.0 too.

    python -m bench.bars_trust conversion

Also what users of the official converter reported: names lost (lerobot#3786), picture statistics lost (#3786), files
missing (#2643), frames and video out of step (AgiBot-World#149), no one-step way from v2.0 (#2858).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.rows import Row
from bench.trust.defects import Draft
from blueprint.apps.release.convert import convert_dataset
from blueprint.formats.lerobot.check import check_dataset
from blueprint.formats.lerobot.doctor import examine
from blueprint.formats.lerobot.read import ForeignDataset, open_dataset
from blueprint.formats.video.cut import frames, packets

DRAFTS = 10
REAL = ("plain", "av1", "full")  # of tests/lerobot/write_datasets.py: through the product's stages


def rows(drafts: int = DRAFTS, real: tuple[str, ...] = REAL) -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = {f"draft {seed}": _draft(folder / f"draft_{seed}", seed) for seed in range(drafts)}
        made |= dict(_real(folder / "real", real))
        kinds: dict[str, list[str]] = {}
        for title, root in made.items():
            for law, fault in round_trip(root, folder / "trip"):
                kinds.setdefault(law, [])
                kinds[law] += [f"{title}: {fault}"] if fault else []
            shutil.rmtree(folder / "trip")
        for law, faults in kinds.items():
            told = f"{len(made)} datasets, {len(faults)} differ {'; '.join(faults[:2])}"
            yield Row(f"conversion: {law}", told, "0 differ", not faults)
        yield from _oldest(made["draft 0"], folder / "oldest")


def round_trip(root: Path, work: Path) -> Iterator[tuple[str, str]]:
    """(law, what breaks it or "") of v3.0 `root` -> v2.1 -> v3.0 -> v2.1."""
    work.mkdir(parents=True)
    first, back, again = work / "first", work / "back", work / "again"
    done = [convert_dataset(root, first, "v2.1"), convert_dataset(first, back, "v3.0")]
    done.append(convert_dataset(back, again, "v2.1"))
    a, b, c, d = (open_dataset(one) for one in (root, first, back, again))
    same = _files(first, "data/*/*.parquet") == _files(again, "data/*/*.parquet")
    yield "v2.1 -> v3.0 -> v2.1 tables, byte for byte", "" if same else "bytes"
    jsonl = _files(first, "meta/*.jsonl") == _files(again, "meta/*.jsonl")
    yield "v2.1 -> v3.0 -> v2.1 tasks, episodes, statistics, byte for byte", "" if jsonl else "meta"
    yield "v3.0 -> v2.1 -> v3.0 tables, value for value", "" if _table(root).equals(_table(back)) else "values"
    yield "v3.0 -> v2.1 -> v3.0 statistics and tasks", "" if _meta(a) == _meta(c) else "values"
    pictures = [_pictures(one) for one in (a, b, c, d)]
    yield "videos, frame by frame, in all four", "" if pictures == pictures[:1] * 4 else "pictures"
    yield (
        "nothing coded again, no statistics made up",
        str([x for one in done for x in one["recoded"] + one["computed"]] or ""),
    )
    known = {(finding.rule, finding.where) for finding in examine(root)}
    fresh = [f for one in (first, back, again) for f in examine(one) if (f.rule, f.where) not in known]
    yield "no new finding of the doctor", str(fresh[0]) if fresh else ""
    wrong = check_dataset(back, decode=True)
    yield "the v3.0 copy holds to the format", str(wrong[0]) if wrong else ""
    yield "features (names, shapes) kept", "" if a.features == b.features == c.features == d.features else "features"
    missing = [path for one in (b, c, d) for path in _cited(one) if not path.is_file()]
    yield "no file missing", str(missing[0]) if missing else ""
    sides = [_files(one, "sidecar/**/*") for one in (root, first, back, again)]
    yield "sidecar carried along", "" if sides == sides[:1] * 4 else "sidecar"


def _draft(root: Path, seed: int) -> Path:
    return Draft(np.random.default_rng([3, seed]), episodes=2 + seed % 5).write(root)


def _real(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    sys.path[:0] = [str(Path(__file__).parents[2] / "tests" / "lerobot")]
    from write_datasets import KINDS, Limits, write_synthetic, write_toy  # type: ignore[import-not-found]

    for name in names:
        write_toy(folder / name, KINDS[name])
        yield name, folder / name / "dataset"
    write_synthetic(folder / "many", lengths=[7, 30, 4, 25, 12, 40, 9], limits=Limits(2, 0.01, 0.03))
    yield "many files", folder / "many" / "dataset"


def _oldest(root: Path, work: Path) -> Iterator[Row]:
    """v2.0 keeps no statistics per episode and calls the videos' facts otherwise."""
    convert_dataset(root, work / "old", "v2.1")
    (work / "old/meta/episodes_stats.jsonl").unlink()
    info = json.loads((work / "old/meta/info.json").read_text())
    for feature in info["features"].values():
        if "info" in feature:
            feature["video_info"] = feature.pop("info")
    (work / "old/meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.0"}))
    convert_dataset(work / "old", work / "new", "v3.0")
    told, found = open_dataset(root).stats, open_dataset(work / "new").stats
    tabular = [name for name in told if not name.startswith("observation.images")]
    worst = max(_gap(told[name], found[name]) for name in tabular)
    seen = max(_gap(told[name], found[name]) for name in set(told) - set(tabular))
    wrong = check_dataset(work / "new", decode=True)
    measured = f"{len(wrong)} findings, statistics {worst:.0e} off, of pictures {seen:.3f}"
    # pictures: the originals were counted before they were coded
    yield Row(
        "conversion: v2.0 -> v3.0 in one step",
        measured,
        "0, <= 1e-6, <= 0.1",
        not wrong and worst <= 1e-6 and seen < 0.1,
    )


def _gap(a: dict, b: dict) -> float:
    if set(a) != set(b):
        return float("inf")
    return max(
        float(np.abs(np.asarray(a[key], float) - np.asarray(b[key], float)).max()) for key in a if key != "count"
    )


def _files(root: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob(pattern)) if path.is_file()}


def _table(root: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(root.glob("data/*/*.parquet"))]).combine_chunks()


def _meta(dataset: ForeignDataset) -> object:
    episodes = [(one.index, one.length, one.first, one.tasks, one.stats) for one in dataset.episodes()]
    return dataset.tasks, dataset.stats, episodes


def _pictures(dataset: ForeignDataset) -> list[str]:
    """A digest of the decoded pictures of every episode and camera."""
    found = []
    for episode in dataset.episodes():
        for key in dataset.videos:
            digest, file = hashlib.sha256(), packets(episode.clips[key].path)
            for picture in frames(file, file.piece(episode.clips[key].start_s or 0.0, episode.length)):
                digest.update(picture.tobytes())
            found.append(f"{episode.index} {key} {digest.hexdigest()}")
    return found


def _cited(dataset: ForeignDataset) -> Iterator[Path]:
    for episode in dataset.episodes():
        yield episode.table
        yield from (clip.path for clip in episode.clips.values())
