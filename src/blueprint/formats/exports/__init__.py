"""Formats that a LeRobot dataset can be written in: the table of writers, one module each.

A writer is `write(dataset: ForeignDataset, out: Path) -> Converted`. It reads one episode at a time
(`dataset.episodes()`, `.table()`, `.pictures()`) and writes into the new folder `out`. What belongs to the copy whole
(the card, licence, sidecar, signature) is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blueprint.formats.lerobot.read import ForeignDataset


@dataclass
class Converted:
    """recoded: cameras whose videos had to be coded again; computed: features with statistics the source lacked."""

    episodes: int = 0
    frames: int = 0
    recoded: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Export:
    """module: of `blueprint.formats`; title: as its users call it"""

    module: str
    title: str


EXPORTS: dict[str, Export] = {
    "v3.0-language": Export("lerobot.language", "LeRobot v3.0 with language columns (lerobot 0.6)"),
    "hdf5": Export("exports.robomimic", "HDF5 for robomimic"),
    "rlds": Export("exports.rlds", "RLDS (TensorFlow Datasets)"),
    "mcap": Export("exports.rosbag", "ROS 2 bags (MCAP)"),
    "webdataset": Export("exports.webdataset_tar", "WebDataset shards"),
    "pointcloud": Export("exports.point_clouds", "point clouds (PLY)"),
}


def write(dataset: ForeignDataset, out: Path, target: str) -> Converted:
    """target: of `EXPORTS`. Raises BackendError when the writer's package is not installed."""
    return import_module(f"blueprint.formats.{EXPORTS[target].module}").write(dataset, out)
