"""Mixed precision on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from lfi.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """``OptimWrapper`` whose forward pass runs in bfloat16 on the CPU. It takes the same arguments.

    mmengine's ``AmpOptimWrapper`` needs a GPU. bfloat16 has the range of float32, so the loss is not scaled.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Context of a forward pass, with autocast to bfloat16."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
