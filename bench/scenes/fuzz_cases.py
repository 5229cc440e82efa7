"""The cases of the fuzz suite, all from seeds made here (`fuzz_seeds`), the same on every machine."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.scenes import fuzz_seeds as seeds

# What lies outside the scene folder, by every name that a case tries to reach.
OUTSIDE = (
    "canary.usda", "canary.obj", "canary.mtl", "canary.png", "canary.xml", "canary.stl", "canary.bin", "canary.glb",
    "canary.json", "canary.npy", "canary.txt",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """write: puts the input into an empty folder and returns what the user would name."""

    name: str
    write: Callable[[Path], Path]


def outside_text(path: Path, canary: str) -> str:
    """A file of its kind that could be read, with the canary in it."""
    texts = {
        ".usda": f'#usda 1.0\n(doc="{canary}")\ndef Cube "{canary.replace("-", "_")}" {{}}\n',
        ".obj": f"o {canary}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        ".mtl": f"newmtl red\nKd 0.1 0.2 0.3\n# {canary}\n",
        ".xml": f'<mujoco><worldbody><body name="{canary}"><freejoint/><geom size="1"/></body></worldbody></mujoco>',
        ".json": json.dumps({"note": canary}),
    }
    return texts.get(path.suffix, canary)


def plain_cases() -> Iterator[Case]:
    """All but the bombs."""
    for cases in (_broken(), _numbers(), _missing(), _escapes(), _links(), _zips()):
        yield from cases


# ------------------------------------------------------------------ seeds


def write_usdc(folder: Path) -> Path:
    from pxr import Sdf

    text = seeds.write_usd(folder)
    Sdf.Layer.OpenAsAnonymous(str(text)).Export(str(folder / "scene.usdc"))
    text.unlink()
    return folder / "scene.usdc"


def write_usdz(folder: Path) -> Path:
    seeds.write_usd(folder)
    path = folder / "kitchen.usdz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as package:
        for name in ("scene.usda", "props/mug.usda"):
            package.write(folder / name, name)
    (folder / "scene.usda").unlink()
    (folder / "props/mug.usda").unlink()
    return path


def write_rgbd(folder: Path) -> Path:
    """A plane with a block on it, seen from above at 45 degrees; 160 x 120."""
    height, width, focal = 120, 160, 150.0
    v, u = np.mgrid[:height, :width]
    ray = np.stack([(u - 79.5) / focal, (v - 59.5) / focal, np.ones_like(u, dtype=float)], axis=2)
    slope = np.sqrt(0.5)
    table = 0.7 / (ray[..., 1] * slope + ray[..., 2] * slope)
    top = 0.62 / (ray[..., 1] * slope + ray[..., 2] * slope)
    block = (np.abs(ray[..., 0] * top) < 0.06) & (np.abs(top - 0.9) < 0.06)
    depth = np.where(block, top, table)
    color = np.where(block[..., None], (200, 40, 40), (150, 150, 150)).astype(np.uint8)
    Image.fromarray(color).save(folder / "color.png")
    Image.fromarray((depth * 1000).astype(np.uint16)).save(folder / "depth.png")
    camera = {"width": width, "height": height, "fx": focal, "fy": focal, "cx": 79.5, "cy": 59.5, "dist": []}
    frame = {"id": "000000", "rgb": "color.png", "depth": "depth.png"}
    meta = {"schema": "capture/1", "name": "block", "kind": "rgbd", "camera": camera, "frames": [frame], "units": "mm"}
    path = folder / "capture.json"
    path.write_text(json.dumps(meta))
    return path


SEEDS: dict[str, Callable[[Path], Path]] = {
    "glb": seeds.write_glb,
    "gltf": seeds.write_gltf,
    "obj": seeds.write_obj,
    "mjcf": seeds.write_mjcf,
    "urdf": seeds.write_urdf,
    "usda": seeds.write_usd,
    "usdc": write_usdc,
    "usdz": write_usdz,
    "rgbd": write_rgbd,
}
AUXILIARY = {
    "gltf": "*.bin", "obj": "*.mtl", "mjcf": "meshes/mug.obj", "urdf": "meshes/door.stl", "usda": "props/mug.usda",
    "rgbd": "depth.png",
}  # fmt: skip
TEXTS = ("gltf", "obj", "mjcf", "urdf", "usda", "rgbd")


def changed_case(name: str, kind: str, change: Callable[[Path, Path], None]) -> Case:
    """The seed of `kind`, then change(folder, main file)."""

    def write(folder: Path) -> Path:
        main = SEEDS[kind](folder)
        change(folder, main)
        return folder

    return Case(name, write)


def text_case(name: str, file: str, text: str | bytes) -> Case:
    def write(folder: Path) -> Path:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        if file.endswith(".usda"):  # statements and closing braces stand on lines of their own
            data = data.replace(b"{", b"{\n").replace(b"}", b"\n}\n")
        path.write_bytes(data)
        return folder

    return Case(name, write)


# ------------------------------------------------------------------ broken bytes, absurd numbers, missing files


def _broken() -> Iterator[Case]:
    for kind in SEEDS:
        for pattern in ("", AUXILIARY.get(kind, "")) if kind in AUXILIARY else ("",):
            which = "aux" if pattern else "main"
            for share in (0.0, 0.02, 0.5, 0.9, 0.999):
                yield changed_case(f"cut {kind} {which} {share}", kind, _cutter(pattern, share))
            for seed in range(8 if not pattern else 4):
                yield changed_case(f"flip {kind} {which} {seed}", kind, _flipper(pattern, seed))


def _target(folder: Path, main: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0] if pattern else main


def _cutter(pattern: str, share: float) -> Callable[[Path, Path], None]:
    def change(folder: Path, main: Path) -> None:
        path = _target(folder, main, pattern)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])

    return change


def _flipper(pattern: str, seed: int) -> Callable[[Path, Path], None]:
    def change(folder: Path, main: Path) -> None:
        path = _target(folder, main, pattern)
        rng = np.random.default_rng(seed)
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
        where = rng.integers(0, len(data), size=max(1, 2 ** (seed % 5)))
        data[where] ^= (1 << rng.integers(0, 8, size=len(where))).astype(np.uint8)
        path.write_bytes(data.tobytes())

    return change


def _numbers() -> Iterator[Case]:
    for kind in TEXTS:
        for word in ("nan", "inf", "1e308", "-1", "99999999999999999999", "0"):
            for seed in (0, 1):
                yield changed_case(f"number {kind} {word} {seed}", kind, _renumbered(word, seed))


def _renumbered(word: str, seed: int) -> Callable[[Path, Path], None]:
    """Every tenth number of the file becomes `word`."""
    import re

    def change(folder: Path, main: Path) -> None:
        rng = np.random.default_rng(seed)
        text = main.read_text(errors="replace")
        made = re.sub(r"(?<![\w.])-?\d+\.?\d*(?![\w.])", lambda m: word if rng.random() < 0.1 else m[0], text)
        main.write_text(made)

    return change


def _missing() -> Iterator[Case]:
    for kind, pattern in AUXILIARY.items():
        yield changed_case(f"missing {kind}", kind, lambda f, m, p=pattern: _target(f, m, p).unlink())
        yield _single(f"alone {kind}", kind)
    yield changed_case("missing obj texture", "obj", lambda f, m: (f / "red.png").unlink())
    yield Case("empty folder", lambda folder: folder)
    yield Case("no such place", lambda folder: folder / "nothing")
    for suffix in ("glb", "gltf", "obj", "xml", "urdf", "usda", "usdc", "usdz", "stl", "ply", "dae", "zip"):
        yield text_case(f"empty {suffix}", f"scene.{suffix}", b"")
        yield text_case(f"noise {suffix}", f"scene.{suffix}", np.random.default_rng(5).bytes(4096))


def _single(name: str, kind: str) -> Case:
    """The main file given by itself, without what it names."""
    return Case(name, lambda folder: SEEDS[kind](folder))


# ------------------------------------------------------------------ out of the scene


def _escapes() -> Iterator[Case]:
    for how in ("../canary", "../../scene/../canary", "{out}/canary", "file://{out}/canary", "..\\canary", "~/canary"):
        tag = how.replace("{out}", "ABS")
        for name, write in _references().items():
            yield Case(f"escape {name} {tag}", lambda folder, how=how, write=write: write(folder, how))


def _references() -> dict[str, Callable[[Path, str], Path]]:
    """Each writes a scene into the folder that names `how` + suffix."""

    def swap(kind: str, old: str, new: str, pattern: str = "") -> Callable[[Path, str], Path]:
        def write(folder: Path, how: str) -> Path:
            main = SEEDS[kind](folder)
            path = _target(folder, main, pattern)
            text = path.read_text()
            if old not in text:
                raise ValueError(f"{kind}: no {old!r}")
            path.write_text(text.replace(old, new.replace("HOW", how.format(out=folder.parent))))
            return folder

        return write

    layer = "@./props/mug.usda@"
    anchor = 'def Xform "World"\n{'
    shader = """
def Material "Look"
{
 token outputs:surface.connect = </Look/S.outputs:surface>
 def Shader "S"
 {
  uniform token info:id = "UsdPreviewSurface"
  color3f inputs:diffuseColor.connect = </Look/T.outputs:rgb>
  token outputs:surface
 }
 def Shader "T"
 {
  uniform token info:id = "UsdUVTexture"
  asset inputs:file = @HOW.png@
  float3 outputs:rgb
 }
}
def Mesh "M" (prepend apiSchemas = ["MaterialBindingAPI"])
{
 rel material:binding = </Look>
 point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
 int[] faceVertexCounts = [3]
 int[] faceVertexIndices = [0, 1, 2]
 texCoord2f[] primvars:st = [(0, 0), (1, 0), (0, 1)] (interpolation = "vertex")
}
"""
    return {
        "usd reference": swap("usda", layer, "@HOW.usda@"),
        "usd payload": swap("usda", f"references = {layer}", "payload = @HOW.usda@"),
        "usd sublayer": swap("usda", "metersPerUnit", "subLayers = [@HOW.usda@]\n metersPerUnit"),
        "usd nested": swap("usda", 'defaultPrim = "Mug"', 'defaultPrim = "Mug"\n subLayers = [@HOW.usda@]', "props/*"),
        "usd texture": swap("usda", anchor, shader + anchor),
        "usd clips": swap(
            "usda",
            anchor,
            'def "C" (clips = {dictionary default = {asset[] assetPaths = [@HOW.usda@]\n string primPath = "/C"\n'
            " double2[] active = [(0,0)]\n double2[] times = [(0,0)]}}) { }\n" + anchor,
        ),
        "usd expression": swap("usda", layer, '@`"HOW.usda"`@'),
        "mjcf include": swap("mjcf", 'file="more.xml"', 'file="HOW.xml"'),
        "mjcf mesh": swap("mjcf", 'file="mug.obj"', 'file="HOW.obj"'),
        "mjcf texture": swap("mjcf", "<asset>", '<asset><texture name="t" type="2d" file="HOW.png"/>'),
        "mjcf model": swap("mjcf", "<asset>", '<asset><model name="t" file="HOW.xml"/>'),
        "mjcf meshdir": swap("mjcf", 'meshdir="meshes"', 'meshdir="HOW"'),
        "urdf mesh": swap("urdf", "package://cabinet/meshes/door.stl", "HOW.stl"),
        "urdf package": swap("urdf", "package://cabinet/meshes/door.stl", "package://HOW.stl"),
        "obj mtllib": swap("obj", "scene.mtl", "HOW.mtl"),
        "obj texture": swap("obj", "red.png", "HOW.png", "*.mtl"),
        "capture color": swap("rgbd", "color.png", "HOW.png"),
        "gltf buffer": _gltf_buffer,
        "scene.json": lambda folder, how: _scene_json(folder, how),
    }


def _gltf_buffer(folder: Path, how: str) -> Path:
    main = seeds.write_gltf(folder)
    meta = json.loads(main.read_text())
    meta["buffers"][0]["uri"] = f"{how.format(out=folder.parent)}.bin"
    main.write_text(json.dumps(meta))
    return folder


def _scene_json(folder: Path, how: str) -> Path:
    seeds.write_glb(folder)
    (folder / "scene.json").write_text(json.dumps({"main": f"{how.format(out=folder.parent)}.glb"}))
    return folder


def _links() -> Iterator[Case]:
    for kind, pattern in {**AUXILIARY, "glb": "scene.glb", "usdc": "scene.usdc"}.items():

        def change(folder: Path, main: Path, pattern: str = pattern) -> None:
            path = _target(folder, main, pattern)
            suffix = path.suffix if f"canary{path.suffix}" in OUTSIDE else ".txt"
            path.unlink()
            path.symlink_to(folder.parent / f"canary{suffix}")

        yield changed_case(f"link {kind}", kind, change)
    yield changed_case("link folder", "usda", lambda f, m: (f / "more").symlink_to(f.parent, target_is_directory=True))
    yield changed_case("link circle", "glb", lambda f, m: (f / "again").symlink_to(f, target_is_directory=True))


# ------------------------------------------------------------------ archives


def _zips() -> Iterator[Case]:
    for kind in SEEDS:
        yield Case(f"zip {kind}", lambda folder, kind=kind: _zipped(folder, kind))
        for share in (0.3, 0.95):
            yield Case(f"zip cut {kind} {share}", lambda folder, k=kind, s=share: _cut(_zipped(folder, k), s))
    for name in ("../canary.obj", "/tmp/canary_escape.obj", "a/../../canary.obj", "..\\canary.obj", "C:\\canary.obj"):
        yield Case(f"zip entry {name}", lambda folder, name=name: _zip_of(folder, {name: b"o x\nv 0 0 0\n"}))
        yield Case(f"usdz entry {name}", lambda folder, name=name: _zip_of(folder, {name: b"#usda 1.0\n"}, "s.usdz"))
    yield Case("zip bomb", lambda folder: _zip_of(folder, {"scene.obj": bytes(80 * 2**20)}))
    yield Case("usdz bomb", lambda folder: _zip_of(folder, {"scene.usda": bytes(80 * 2**20)}, "s.usdz"))
    yield Case("zip of 30000", lambda folder: _zip_of(folder, {f"{i}.obj": b"" for i in range(30_000)}))
    yield Case("zip link", _zip_link)
    yield Case("zip overlapping", _zip_overlap)


def _zipped(folder: Path, kind: str) -> Path:
    inner = folder / "inner"
    inner.mkdir()
    SEEDS[kind](inner)
    path = folder / "given.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for file in sorted(inner.rglob("*")):
            package.write(file, file.relative_to(inner))
    return path


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def _zip_of(folder: Path, files: dict[str, bytes], name: str = "given.zip") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for entry, data in files.items():
            package.writestr(entry, data)
    return path


def _zip_link(folder: Path) -> Path:
    path = folder / "given.zip"
    with zipfile.ZipFile(path, "w") as package:
        entry = zipfile.ZipInfo("scene.obj")
        entry.external_attr = 0o120777 << 16
        package.writestr(entry, "../../canary.obj")
    return path


def _zip_overlap(folder: Path) -> Path:
    """Many directory entries for the same data (D. Fifield, A better zip bomb, 2019)."""
    path = _zip_of(folder, {f"{i:03d}.obj": bytes(10**6) for i in range(1)})
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry, count = data[at:end], 5000
    names = [entry.replace(b"000.obj", f"{i:07d}".encode()[:7]) for i in range(count)]
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, at, 0)
    path.write_bytes(data[:at] + b"".join(names) + tail)
    return path
