"""What code a stage is made of: the modules of this package that it imports, and the packages these import."""

from __future__ import annotations

import functools
import re
import sys
from importlib import metadata
from pathlib import Path

from blueprint.core.files import file_digest, files_below

PACKAGE = Path(__file__).parents[1]  # .../blueprint

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)"
    r"|import[ \t]+([\w.]+)[ \t]*(?:as[ \t]+\w+|#.*)?$)",
    re.MULTILINE,
)
_DISTRIBUTIONS = {  # import name -> distribution, where they differ
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pxr": "usd-core",
    "skimage": "scikit-image",
    "fast_simplification": "fast-simplification",
}


@functools.cache
def code_digests(modules: tuple[str, ...]) -> dict[str, str]:
    """module -> digest of its source, for `modules` and all of ours that they import, directly or not.

    With a package (templates and tables of a stage) come the data files in its folder.
    The engine (`blueprint.core`) does not count: it runs stages and is no part of what they make.
    """
    found = {module: file_digest(_file(module))[:16] for module in _closure(modules)}
    for module in _closure(modules):
        folder = _file(module).parent
        if _file(module).name == "__init__.py" and folder.parent != PACKAGE:
            data = (name for name in files_below(folder) if not name.endswith((".py", ".pyc")))
            found |= {f"{module}: {name}": file_digest(folder / name)[:16] for name in data}
    return found


@functools.cache
def tool_versions(modules: tuple[str, ...]) -> dict[str, str]:
    """package -> version, for every installed package that the same code imports."""
    imported = {name.partition(".")[0] for module in _closure(modules) for name in _imports(_file(module))}
    found = {_DISTRIBUTIONS.get(name, name): _version(_DISTRIBUTIONS.get(name, name)) for name in imported}
    return {name: found[name] for name in sorted(found) if found[name]}


@functools.cache
def _closure(modules: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        waiting += [name for name in _imports(_file(module)) if _is_ours(name)]
    return tuple(sorted(seen))


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    """Every name that may be a module: `from a.b import c` gives a.b and a.b.c."""
    found: set[str] = set()
    for source, names, plain in _IMPORT.findall(path.read_text()):
        if plain:
            found.add(plain)
        else:
            found.add(source)
            found |= {f"{source}.{name}" for name in re.findall(r"\w+", re.sub("#[^\n]*", "", names))}
    return frozenset(found)


def _is_ours(name: str) -> bool:
    return name.startswith("blueprint.") and not name.startswith("blueprint.core") and _find(name) is not None


def _find(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _file(module: str) -> Path:
    """Source of one of our modules, or of a loaded one."""
    ours = _find(module) if module.startswith("blueprint.") else None
    if ours is not None:
        return ours
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is None:
        raise ImportError(f"module {module} has no source file: a stage must stand in one")
    return Path(loaded)


@functools.cache
def _version(distribution: str) -> str:
    if distribution in sys.stdlib_module_names or distribution == "blueprint":
        return ""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
