"""Access to torchvision's kernels, their precision, and placeholders for missing ops."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor


def torchvision_ops() -> Any:
    """Return torchvision's op namespace. The first call imports torchvision."""
    import torchvision  # noqa: F401

    return torch.ops.torchvision


def widen(tensor: Tensor) -> Tensor:
    """Convert half precision to float32. Other dtypes are unchanged.

    torchvision has no bfloat16 kernels. Under autocast it runs these ops in float32, too.
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


_MESSAGE = """mmcv's compiled op {name!r} is not available: mmcv was installed without compiled ops, and \
LFI's stand-in by torchvision does not have it. Build mmcv with its ops (this takes a C++ compiler, and nvcc \
for GPUs) in an environment that already has torch:
    pip install --force-reinstall --no-deps --no-cache-dir --no-build-isolation onedl-mmcv
or, with the upstream packages:
    pip uninstall mmcv-lite
    pip install 'setuptools<81' wheel
    pip install --no-cache-dir --no-build-isolation 'mmcv>=2.0.0,<2.2.0'"""


def missing_op_error(name: str) -> NotImplementedError:
    """Return an error that names the op and explains how to build mmcv with its ops."""
    return NotImplementedError(_MESSAGE.format(name=name))


def missing_op(name: str) -> Callable:
    """Return a function in the place of the op `name` that raises a NotImplementedError when called."""

    def op(*args: Any, **kwargs: Any) -> NoReturn:
        raise missing_op_error(name)

    op.__name__ = op.__qualname__ = name
    return op
