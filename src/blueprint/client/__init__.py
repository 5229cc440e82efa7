"""The training side: frames of a finished dataset (docs/training.md), episodes as they are made (docs/streaming.md).

    from blueprint.client import EpisodeStream, StreamDataset, create_blueprint_dataloader

`EpisodeStream` needs NumPy only, `StreamDataset` and `create_blueprint_dataloader` PyTorch, pictures PyAV, tables
pyarrow; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from blueprint.client.stream import Episode, EpisodeStream, StreamError

if TYPE_CHECKING:
    from blueprint.client.frames import LoaderConfig
    from blueprint.client.torch_dataset import StreamDataset, create_blueprint_dataloader

_LATER = {"LoaderConfig": "frames", "StreamDataset": "torch_dataset", "create_blueprint_dataloader": "torch_dataset"}

__all__ = ["Episode", "EpisodeStream", "LoaderConfig", "StreamDataset", "StreamError", "create_blueprint_dataloader"]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"blueprint.client.{_LATER[name]}"), name)
