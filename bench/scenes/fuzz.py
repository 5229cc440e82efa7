"""Bad input: broken, hostile and absurd captures and scenes; `python -m bench.scenes.fuzz`.

Each case runs in a child with a time and memory limit. It passes if the child ends by itself, either with a
reconstruction or with a BlueprintError that has a hint. A canary file lies outside every scene: the child's own audit
hook sees what Python opens, the kernel's access time what the readers in C++ do.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.rows import Row
from bench.scenes import fuzz_cases as cases
from bench.scenes.fuzz_bombs import bomb_cases
from blueprint.core.errors import BlueprintError
from blueprint.core.process import Outcome, run_child

SECONDS = 60.0
MEMORY = 14 * 2**30
CANARY = "canary-7f3a91c6"  # no seed holds it


@dataclass(frozen=True)
class Verdict:
    """ending: read, refused, crash, hang, foreign (an error that is no BlueprintError), hintless; leaks: what was read
    outside the scene."""

    name: str
    ending: str
    text: str
    leaks: tuple[str, ...] = ()


def rows() -> Iterable[Row]:
    verdicts = [judge(case) for case in all_cases()]
    ends = {end: sum(v.ending == end for v in verdicts) for end in ("read", "refused")}
    yield Row(
        "fuzz: cases",
        f"{len(verdicts)} ({ends['read']} read, {ends['refused']} refused)",
        ">= 300",
        len(verdicts) >= 300,
    )
    for title, endings in (("crashes", ("crash", "foreign", "hintless")), ("hangs over 60 s", ("hang",))):
        bad = [f"{v.name}: {v.text}" for v in verdicts if v.ending in endings]
        yield Row(f"fuzz: {title}", f"{len(bad)}", "0", not bad)
        yield from (Row(f"  {text[:200]}", "", "", None) for text in bad)
    leaks = [f"{v.name} read {leak}" for v in verdicts for leak in v.leaks]
    yield Row("fuzz: files read outside the scene", f"{len(leaks)}", "0", not leaks)
    yield from (Row(f"  {text[:200]}", "", "", None) for text in leaks)


def judge(case: cases.Case) -> Verdict:
    """Write the case beside a canary, read it as a user would, and see how that ends."""
    _preload()
    with tempfile.TemporaryDirectory(prefix="fuzz_") as name:
        folder = Path(name)
        place = folder / "scene"
        place.mkdir()
        canaries = _plant(folder)
        given = case.write(place)
        before = {path: _old(path) for path in canaries}
        opened = folder / "opened.txt"
        outcome = run_child(
            case.name, lambda: _read(given, folder / "out", opened, folder), timeout_s=SECONDS, log=folder / "log"
        )
        touched = [str(path) for path in canaries if path.stat().st_atime_ns != before[path]]
        audited = opened.read_text().split("\n") if opened.exists() else []
        leaks = tuple(dict.fromkeys([*touched, *(p for p in audited if p), *_copied(folder / "out")]))
        return Verdict(case.name, *_ending(outcome), leaks)


def _preload() -> None:
    """What every child needs, once: importing it five hundred times would take longer than the cases."""
    import mujoco  # noqa: F401
    from pxr import Sdf, Usd, UsdGeom, UsdPhysics, UsdShade  # noqa: F401

    import blueprint.backends.reconstructor_import
    import blueprint.backends.reconstructor_rgbd
    import blueprint.stages.capture  # noqa: F401


def _plant(folder: Path) -> list[Path]:
    """Files outside the scene under names that cases use."""
    made = []
    for name in cases.OUTSIDE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(cases.outside_text(path, CANARY))
        made.append(path)
    return made


def _old(path: Path) -> int:
    """An access time long ago: with relatime the kernel updates one older than a day at the next read."""
    os.utime(path, ns=(10**9, path.stat().st_mtime_ns))
    return path.stat().st_atime_ns


def _copied(out: Path) -> Iterator[str]:
    for path in out.rglob("*") if out.is_dir() else ():
        if path.is_file() and CANARY.encode() in path.read_bytes():
            yield f"(copied to {path.name})"


def _read(given: Path, out: Path, opened: Path, folder: Path) -> str:
    """As the first two stages do."""
    # apps/source.py, which hashes what the user names and follows links for that, is not in this
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    from blueprint.backends.reconstructor_import import ReconstructorImport
    from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
    from blueprint.model.artifacts import Source
    from blueprint.stages.capture import CaptureConfig, capture
    from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction

    _watch(opened, folder)
    seen = capture(Source(location=str(given), digest=""), CaptureConfig(), out / "c").save(out / "c")
    reader = ReconstructorImport() if seen.kind == "scene" else ReconstructorRgbd()
    (out / "r").mkdir()
    done = reconstruction(seen, reader, ReconstructionConfig(), out / "r")
    return f"{len(done.instances)} objects"


def _watch(opened: Path, folder: Path) -> None:
    """Note every canary that Python opens, here and in forked children."""
    names = {str((folder / name).resolve()) for name in cases.OUTSIDE}

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str) and os.path.realpath(args[0]) in names:
            descriptor = os.open(opened, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, f"{os.path.realpath(args[0])}\n".encode())
            os.close(descriptor)

    sys.addaudithook(hook)


def _ending(outcome: Outcome) -> tuple[str, str]:
    error = outcome.error
    if error is None:
        return "read", str(outcome.value)
    if outcome.crashed:
        return "crash", error.message
    if "gave no result within" in error.message:
        return "hang", error.message
    if "defect of blueprint" in error.hint or not isinstance(error, BlueprintError):
        return "foreign", error.message
    if not error.hint:
        return "hintless", error.message
    return "refused", f"{error.message} | {error.hint}"


def all_cases() -> list[cases.Case]:
    made = [*cases.plain_cases(), *bomb_cases()]
    if len({case.name for case in made}) != len(made):
        raise ValueError("case names must be unique")
    return made


def named(wanted: Callable[[str], bool]) -> list[cases.Case]:
    """Some of the cases, by name."""
    return [case for case in all_cases() if wanted(case.name)]


if __name__ == "__main__":
    for case in named(lambda name: not sys.argv[1:] or any(word in name for word in sys.argv[1:])):
        verdict = judge(case)
        print(f"{verdict.ending:8s} {verdict.name:45s} {verdict.text[:230]!r} {' '.join(verdict.leaks)}", flush=True)
