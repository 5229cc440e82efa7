"""The training side of `blueprint stream`: episodes of a scene as they are made (docs/streaming.md).

    from blueprint.client import EpisodeStream, StreamDataset

`EpisodeStream` needs NumPy only, `StreamDataset` PyTorch, pictures PyAV; each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blueprint.client.stream import Episode, EpisodeStream, StreamError

if TYPE_CHECKING:
    from blueprint.client.torch_dataset import StreamDataset

__all__ = ["Episode", "EpisodeStream", "StreamDataset", "StreamError"]


def __getattr__(name: str) -> Any:
    if name != "StreamDataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from blueprint.client.torch_dataset import StreamDataset

    return StreamDataset
