"""croissant.json: what a dataset holds, for whatever reads Croissant 1.1 (docs.mlcommons.org/croissant)."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from blueprint.core.files import file_digest
from blueprint.formats.lerobot.files import write_json

FILE = "croissant.json"
TABLES = {"frames": "data/*/*.parquet", "episodes": "meta/episodes/*/*.parquet"}
MEDIA = {".parquet": "application/x-parquet", ".json": "application/json", ".mp4": "video/mp4"}
TYPES = {"float": "cr:Float32", "int": "cr:Int64", "string": "sc:Text", "bool": "sc:Boolean"}
EPISODE = {name: {"dtype": "int64", "shape": [1]} for name in ("episode_index", "length", "dataset_from_index")}
EPISODE["tasks"] = {"dtype": "string", "shape": [-1]}


def write_croissant(root: Path, name: str, description: str, licence: str) -> None:
    """Of the LeRobot v3.0 dataset at `root`: each file of it with its SHA-256, and the columns of its tables.

    licence: address of its text, or words
    """
    features = json.loads((root / "meta/info.json").read_bytes())["features"]
    columns = {"frames": {n: f for n, f in features.items() if f["dtype"] != "video"}, "episodes": EPISODE}
    context = resources.files("blueprint.formats.lerobot").joinpath("croissant_context.json")
    files = [path for top in ("meta", "data", "videos") for path in sorted((root / top).rglob("*")) if path.is_file()]
    sets = [
        {"@type": "cr:FileSet", "@id": f"{table}-files", "encodingFormat": MEDIA[".parquet"], "includes": pattern}
        for table, pattern in TABLES.items()
    ]
    content = {
        "@context": json.loads(context.read_text()),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": name,
        "description": description,
        "license": licence,
        "distribution": [*(_file(root, path) for path in files), *sets],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": table, "field": [_field(table, n, f) for n, f in columns[table].items()]}
            for table in TABLES
        ],
    }
    write_json(root / FILE, content)


def _file(root: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(root).as_posix()
    place = {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name}
    return place | {"encodingFormat": MEDIA[path.suffix], "sha256": file_digest(path)}


def _field(table: str, column: str, feature: dict[str, Any]) -> dict[str, Any]:
    """A column; one of several values a row is an array of that shape, -1 where it differs."""
    kind = next(kind for word, kind in TYPES.items() if feature["dtype"].startswith(word))
    source = {"fileSet": {"@id": f"{table}-files"}, "extract": {"column": column}}
    field = {"@type": "cr:Field", "@id": f"{table}/{column}", "name": column, "dataType": kind, "source": source}
    if feature["shape"] == [1]:
        return field
    return field | {"isArray": True, "arrayShape": ",".join(map(str, feature["shape"]))}
