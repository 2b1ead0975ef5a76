"""Models whose weights are shared out over the processes."""

from __future__ import annotations

from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel


def refuse_shards(model: nn.Module) -> None:
    """Raise a TypeError if a model is sharded: no process has all weights that its maps need."""
    if isinstance(model, FullyShardedDataParallel):
        raise TypeError(
            'interaction maps of a sharded model cannot be looked at: leave the hook out, and use it on the '
            'checkpoint'
        )
