"""Cases of the fuzz suite that are small on the disk and huge, endless or bottomless when read."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from bench.scenes.fuzz_cases import Case, changed_case, text_case


def bomb_cases() -> Iterator[Case]:
    for cases in (_bombs(), _deep(), _odd()):
        yield from cases


def _bombs() -> Iterator[Case]:
    laughs = '<!DOCTYPE l [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
    )
    yield text_case("bomb mjcf entities", "scene.xml", laughs + "]><mujoco><custom>&j;</custom></mujoco>")
    yield text_case("bomb urdf entities", "scene.urdf", laughs + ']><robot name="&j;"/>')
    outer = '<!DOCTYPE l [<!ENTITY a SYSTEM "../canary.xml">]>'
    yield text_case("bomb mjcf outer entity", "scene.xml", outer + "<mujoco>&a;</mujoco>")
    yield text_case("bomb urdf outer entity", "scene.urdf", outer + '<robot name="a">&a;</robot>')
    for name, body in {
        "replicate": '<replicate count="1000000000"><body><geom size="1"/></body></replicate>',
        "replicate nested": '<replicate count="9999"><replicate count="9999"><body><freejoint/><geom size="1"/></body>'
        "</replicate></replicate>",
        "flexcomp": '<flexcomp name="f" type="grid" count="5000 5000 5000" spacing="1 1 1" mass="1"/>',
        "composite": '<composite type="cable" count="100000000" size="1"><geom size="1"/></composite>',
    }.items():
        yield text_case(f"bomb mjcf {name}", "scene.xml", f"<mujoco><worldbody>{body}</worldbody></mujoco>")
    for name, asset in {
        "texture": '<texture name="t" type="2d" builtin="flat" width="2000000000" height="2000000000"/>',
        "large texture": '<texture name="t" type="2d" builtin="flat" width="100000" height="100000"/>',
        "hfield": '<hfield name="h" nrow="1000000" ncol="1000000" size="1 1 1 1"/>',
    }.items():
        text = (
            f'<mujoco><asset>{asset}</asset><worldbody><body><freejoint/><geom size="1"/></body></worldbody></mujoco>'
        )
        yield text_case(f"bomb mjcf {name}", "scene.xml", text)
    yield text_case("bomb mjcf memory", "scene.xml", '<mujoco><size memory="900G"/><worldbody/></mujoco>')
    yield text_case("bomb stl count", "scene.stl", bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50))
    yield text_case("bomb ply count", "scene.ply", _ply(10**12))
    yield text_case("bomb obj index", "scene.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999\n")
    yield text_case("bomb obj negative", "scene.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 -9\n")
    for name, count in (("count", 2**31), ("no data", 40_000_000)):
        yield changed_case(f"bomb gltf {name}", "gltf", lambda f, m, c=count, n=name: _gltf_count(m, c, n == "no data"))
    yield changed_case("bomb obj picture", "obj", lambda f, m: (f / "red.png").write_bytes(_png(60_000, 60_000)))
    yield changed_case("bomb rgbd colour", "rgbd", lambda f, m: (f / "color.png").write_bytes(_png(60_000, 60_000)))
    yield changed_case("bomb rgbd depth", "rgbd", lambda f, m: (f / "depth.png").write_bytes(_png(60_000, 60_000)))
    usd = '#usda 1.0\ndef Xform "A" { %s }\n'
    instances = ", ".join(["0"] * 20_000)
    yield text_case(
        "bomb usd instancer",
        "scene.usda",
        usd % f'def PointInstancer "P" {{ int[] protoIndices = [{instances}]\n rel prototypes = </A/P/S>\n'
        f' point3f[] positions = [{", ".join(["(0,0,0)"] * 20_000)}]\n def Sphere "S" {{}} }}',
    )
    nested = "\n".join(
        f'def "L{i}" {{ ' + " ".join(f'def "c{k}" (references = </L{i + 1}>) {{}}' for k in range(10)) + " }"
        for i in range(9)
    )
    yield text_case("bomb usd references", "scene.usda", f'#usda 1.0\n{nested}\ndef Sphere "L9" {{}}\n')
    counts = '#usda 1.0\ndef Mesh "M" { int[] faceVertexCounts = [%s]\n point3f[] points = [(0,0,0)] }\n'
    yield text_case("bomb usd counts", "scene.usda", counts % ", ".join(["2000000000"] * 50))


def _ply(count: int) -> str:
    return (
        f"ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {count}\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n"
    )


def _gltf_count(main: Path, count: int, without: bool) -> None:
    meta = json.loads(main.read_text())
    for accessor in meta["accessors"]:
        accessor["count"] = count
        if without:
            accessor.pop("bufferView", None)
    main.write_text(json.dumps(meta))


def _png(width: int, height: int) -> bytes:
    """A picture that is small on the disk and huge in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(min(height, 400))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _deep() -> Iterator[Case]:
    for depth in (300, 100_000):
        body = "<body>" * depth + '<geom size="1"/>' + "</body>" * depth
        yield text_case(f"deep mjcf {depth}", "scene.xml", f"<mujoco><worldbody>{body}</worldbody></mujoco>")
        yield text_case(
            f"deep urdf {depth}", "scene.urdf", "<robot>" + "<link>" * depth + "</link>" * depth + "</robot>"
        )
        yield text_case(f"deep json {depth}", "scene.gltf", "[" * depth + "]" * depth)
        yield text_case(f"deep capture {depth}", "capture.json", '{"a":' * depth + "1" + "}" * depth)
        usd = "#usda 1.0\n" + 'def "a" {\n' * depth + 'def Sphere "s" {}\n' + "}\n" * depth
        yield text_case(f"deep usd {depth}", "scene.usda", usd)
        yield changed_case(f"deep gltf nodes {depth}", "gltf", lambda f, m, d=depth: _gltf_chain(m, d))
    yield changed_case("circle gltf", "gltf", lambda f, m: _gltf_circle(m))
    yield changed_case(
        "circle mjcf",
        "mjcf",
        lambda f, m: (f / "more.xml").write_text('<mujoco><include file="scene.xml"/></mujoco>') and None,
    )
    yield changed_case(
        "circle mjcf self",
        "mjcf",
        lambda f, m: (f / "more.xml").write_text('<mujoco><include file="more.xml"/></mujoco>') and None,
    )
    loop = '<robot name="r">' + "".join(
        f'<link name="{a}"><visual><geometry><sphere radius="1"/></geometry></visual></link>'
        f'<joint name="j{a}" type="fixed"><parent link="{a}"/><child link="{b}"/></joint>'
        for a, b in (("a", "b"), ("b", "a"))
    )
    yield text_case("circle urdf", "scene.urdf", loop + "</robot>")
    usd = '#usda 1.0\n(subLayers = [%s])\ndef Sphere "S" (%s) {}\n'
    yield text_case("circle usd sublayer", "scene.usda", usd % ("@./scene.usda@", ""))
    yield text_case("circle usd reference", "scene.usda", usd % ("", "references = @./scene.usda@</S>"))
    yield text_case("circle usd inherit", "scene.usda", usd % ("", "inherits = </S>"))
    yield changed_case(
        "circle usd two layers",
        "usda",
        lambda f, m: (
            (f / "props/mug.usda").write_text('#usda 1.0\n(subLayers = [@../scene.usda@])\ndef "Mug" {}\n') and None
        ),
    )


def _gltf_chain(main: Path, depth: int) -> None:
    meta = json.loads(main.read_text())
    start = len(meta["nodes"])
    meta["nodes"] += [{"children": [start + i + 1]} for i in range(depth - 1)] + [{"mesh": 0}]
    meta["scenes"][0]["nodes"].append(start)
    main.write_text(json.dumps(meta))


def _gltf_circle(main: Path) -> None:
    meta = json.loads(main.read_text())
    start = len(meta["nodes"])
    meta["nodes"] += [{"children": [start + 1], "mesh": 0}, {"children": [start]}]
    meta["scenes"][0]["nodes"].append(start)
    main.write_text(json.dumps(meta))


def _odd() -> Iterator[Case]:
    yield text_case("odd utf16 mjcf", "scene.xml", '<?xml version="1.0"?><mujoco/>'.encode("utf-16"))
    yield text_case("odd picture as glb", "scene.glb", _png(64, 64))
    yield text_case(
        "odd plugin", "scene.xml", '<mujoco><extension><plugin plugin="x.y"/></extension><worldbody/></mujoco>'
    )
    yield text_case("odd two roots", "a.usda", "#usda 1.0\n")
    yield text_case("odd xacro", "r.urdf", '<robot name="r"><link name="${x}"/></robot>')
    yield text_case("odd scene.json list", "scene.json", "[1, 2]")
    yield text_case("odd scene.json unit", "scene.json", '{"unit": -3, "main": "x.obj"}')
    yield text_case("odd metersPerUnit", "scene.usda", '#usda 1.0\n(metersPerUnit = 0)\ndef Sphere "S" {}\n')
    yield text_case(
        "odd flat",
        "scene.usda",
        '#usda 1.0\ndef Sphere "S" { double3 xformOp:scale = (0,0,0)\n'
        ' uniform token[] xformOpOrder = ["xformOp:scale"] }\n',
    )
    yield text_case(
        "odd name",
        "a b (c)/scëne\n.obj",
        "o x\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n",
    )
    yield changed_case(
        "odd remote usd",
        "usda",
        lambda f, m: m.write_text(m.read_text().replace("./props/", "https://example.org/")) and None,
    )
