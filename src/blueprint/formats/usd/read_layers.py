"""Which files a USD scene is made of, found before USD opens them: none may lie outside the scene.

Every layer is opened by itself, what it composes is looked up, and only then the stage is composed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blueprint.core.errors import InputError
from blueprint.formats.given.scene import inside

LAYERS = (".usd", ".usda", ".usdc", ".usdz")
MOST_LAYERS = 5000
CURE = "flatten the stage (usdcat --flatten) or collect its files, and give that folder"


def check_layers(root: Path, main: Path) -> list[Path]:
    """All layers of the scene below `root` that starts at `main`. Raises InputError for one outside, missing or broken.

    Cycles do not matter here, since every layer is looked at once; USD itself reports and breaks them.
    """
    from pxr import Sdf, Tf

    seen: list[Path] = []
    waiting = [main.resolve()]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        if len(seen) >= MOST_LAYERS:
            raise InputError(f"{main.name} is made of more than {MOST_LAYERS} layers", CURE)
        seen.append(file)
        _check_magic(file)
        try:
            layer = Sdf.Layer.FindOrOpen(str(file))
        except Tf.ErrorException as error:
            raise InputError(f"{file.name} is no USD layer that can be read: {_short(error)}", CURE) from error
        if layer is None:
            raise InputError(f"{file.name} is no USD layer that can be read", CURE)
        _no_clips(layer, file)
        waiting += [_dependency(root, file, str(name)) for name in layer.GetCompositionAssetDependencies() if name]
    return seen


def _check_magic(file: Path) -> None:
    with file.open("rb") as opened:
        head = opened.read(8)
    if not (head.startswith((b"#usda", b"#sdf", b"PXR-USDC", b"PK\x03\x04"))):
        raise InputError(f"{file.name} is no USD file", "its first bytes are those of no USD format")


def _dependency(root: Path, file: Path, name: str) -> Path:
    if "`" in name:
        raise InputError(f"{file.name} names a layer by the expression {name[:100]}", CURE)
    name = name.partition(":SDF_FORMAT_ARGS:")[0]
    if "[" in name or Path(name).suffix.lower() not in LAYERS:
        raise InputError(f"{file.name} composes {name[:200]!r}, which is no USD layer", CURE)
    if Path(name).suffix.lower() == ".usdz":
        raise InputError(
            f"{file.name} composes the package {name[:200]!r}", "unpack it (it is a zip file) and refer to its layer"
        )
    return inside(root, file.parent, name, file)


def _no_clips(layer: Any, file: Path) -> None:
    """Value clips open layers by patterns, later than composition."""
    found: list[str] = []

    def look(path: Any) -> None:
        spec = layer.GetPrimAtPath(path) if path.IsPrimPath() else None
        if spec is not None and spec.HasInfo("clips"):
            found.append(str(path))

    layer.Traverse(layer.pseudoRoot.path, look)
    if found:
        raise InputError(f"{file.name}: {found[0]} has value clips, which are not read", CURE)


def _short(error: Exception) -> str:
    """Without the place in USD's own source."""
    text = " ".join(str(error).split())
    return text.partition(" : '")[2][:200] or text[:200]
