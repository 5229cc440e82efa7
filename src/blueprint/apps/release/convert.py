"""`blueprint convert`: a LeRobot dataset in another version or format. The source is only read; the copy appears whole
or not."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blueprint.apps.release.signing import sign_copy
from blueprint.core.errors import InputError
from blueprint.core.files import fsync_tree
from blueprint.formats import exports
from blueprint.formats.exports import EXPORTS, Converted
from blueprint.formats.lerobot.card import CONFIGS, front
from blueprint.formats.lerobot.check import Finding
from blueprint.formats.lerobot.convert import Version, convert
from blueprint.formats.lerobot.doctor import examine
from blueprint.formats.lerobot.groot import write_modality
from blueprint.formats.lerobot.read import ForeignDataset, open_dataset

VERSIONS: dict[str, Version] = {"v2.1": "v2.1", "v3.0": "v3.0", "groot": "v2.1"}
TITLES = {
    "v2.1": "LeRobot v2.1",
    "v3.0": "LeRobot v3.0",
    "groot": "LeRobot v2.1 with `meta/modality.json` for Isaac-GR00T",
}
TITLES |= {name: export.title for name, export in EXPORTS.items()}
# Findings with which no faithful copy can be made: of files, clock and tables. Those of values are the data's own.
BROKEN = {
    *("info", "episodes", "order", "length", "table", "schema", "frames", "timestamps", "tasks", "totals", "fps"),
    *("video", "finite"),  # NaN has no statistics
}
CARRIED = ("sidecar", "LICENSE", "LICENSE.md", "LICENSE.txt")
# of meta/, written anew; the rest (subtasks.parquet, relative_stats.json) holds for the copy too
REWRITTEN = {"info.json", "stats.json", "tasks.jsonl", "tasks.parquet", "episodes.jsonl", "episodes_stats.jsonl"}
SHOWN = 5  # findings of a refusal

FRONT = front({"license": "other", "task_categories": ["robotics"], "tags": ["LeRobot"], "configs": CONFIGS})
NOTE = """> [!NOTE]
> **Converted from LeRobot {version} to {title}** by `blueprint convert`. The values of the tables are those of the
> original; {videos}. {stats}**A certificate of the original does not cover this copy**, its files are others;
> `certificate.dsse.json` in it does, where there is one. {card}

"""


def convert_dataset(root: Path, out: Path, target: str, keys: Sequence[Path] | None = None) -> dict[str, Any]:
    """Write the dataset at `root` into the new folder `out`. target: of `TITLES`; keys: see `signing.sign_copy`.

    Raises InputError when `out` exists or lies in the source, when the dataset is of that version, or when `examine`
    finds it broken.
    """
    dataset = open_dataset(root)
    if dataset.version == target:
        raise InputError(f"{root} is {target}", f"it can become {', '.join(t for t in TITLES if t != target)}")
    with appearing(root, out) as made:
        require_sound(root)
        done = write(dataset, made, target)
        unsigned = sign_copy(root, made, target, keys)
    return {
        "dataset": str(out),
        "from": dataset.version,
        "to": target,
        "episodes": done.episodes,
        "frames": done.frames,
        "recoded": done.recoded,
        "computed": done.computed,
        "unsigned": unsigned,
    }


@contextmanager
def appearing(root: Path, out: Path) -> Iterator[Path]:
    """Where to write a copy of `root` that becomes the new folder `out` when the block ends; nothing if it raises."""
    if out.exists():
        raise InputError(f"{out} exists", "give a folder that does not: nothing is ever overwritten")
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{out} lies in the dataset", "the source is never touched: choose a folder outside")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        made = beside / out.name  # writers name their files after it
        yield made
        fsync_tree(made)
        made.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def require_sound(root: Path) -> list[Finding]:
    """What `examine` finds. Raises InputError when no faithful copy can be made of such a dataset."""
    findings = examine(root)
    broken = [str(finding) for finding in findings if finding.rule in BROKEN]
    if broken:
        more = f"\nand {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        raise InputError(
            "the dataset is broken:\n" + "\n".join(broken[:SHOWN]) + more,
            f"a copy would only hide it; all findings: blueprint check {root}",
        )
    return findings


def write(dataset: ForeignDataset, made: Path, target: str) -> Converted:
    if target in EXPORTS:
        made.mkdir()
        done = exports.write(dataset, made, target)
    else:
        done = convert(dataset, made, VERSIONS[target])
        for path in (dataset.root / "meta").iterdir():
            if path.is_file() and path.name not in REWRITTEN:
                shutil.copyfile(path, made / "meta" / path.name)
    if target == "groot":
        write_modality(made, dataset)
    for name in CARRIED:
        if (dataset.root / name).is_dir():
            shutil.copytree(dataset.root / name, made / name)
        elif (dataset.root / name).is_file():
            shutil.copyfile(dataset.root / name, made / name)
    card = _card(dataset, target, done)
    if not (made / "data").is_dir():  # no tables that a viewer could show
        card = re.sub(r"(?m)^configs:.*\n(?:(?!---)[ -].*\n)*", "", card, count=1)
    (made / "README.md").write_text(card, encoding="utf-8")
    return done


def _card(dataset: ForeignDataset, target: str, done: Converted) -> str:
    """The original's card behind a note of what happened."""
    path = dataset.root / "README.md"
    old = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    front, body = FRONT, old
    if old.startswith("---\n") and "\n---\n" in old[4:]:
        end = old.index("\n---\n", 4) + 5
        front, body = old[:end], old[end:]
    note = NOTE.format(
        version=dataset.version,
        title=TITLES[target],
        videos=f"videos of {', '.join(done.recoded)} were **coded again**"
        if done.recoded
        else "no video was coded again",
        stats=f"Statistics that {', '.join(done.computed)} lacked are computed. " if done.computed else "",
        card="What follows is the original's card." if body.strip() else "The original had no card.",
    )
    return front + note + body


def text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    lines = [f"{escape(value['dataset'])}: {value['to']}, {value['episodes']} episodes, {value['frames']} frames"]
    if value["recoded"]:
        lines.append(f"[yellow]coded again[/yellow] (could not be cut): {escape(', '.join(value['recoded']))}")
    if value["computed"]:
        lines.append(f"statistics completed, the source lacked some: {escape(', '.join(value['computed']))}")
    why = value["unsigned"]
    lines.append(f"[yellow]no certificate[/yellow]: {escape(why)}" if why else "certified as a copy, by your own key")
    return "\n".join(lines)
