"""The module that replaces `mmcv._ext`.

The functions have the argument names of mmcv's bindings and write to their output arguments, so the wrappers
in `mmcv.ops` work with either module. All other ops are placeholders: `mmcv.ops` looks them up when it is
imported, and they raise an error when they are called.
"""

from collections.abc import Callable

from .backend import missing_op
from .deform import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .nms import bbox_overlaps, nms, softnms
from .roi import roi_align_backward, roi_align_forward, roi_pool_backward, roi_pool_forward

__all__ = [
    'bbox_overlaps',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'roi_pool_backward',
    'roi_pool_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """Return the compiler of mmcv's ops for `collect_env`."""
    return 'n/a'


def get_compiling_cuda_version() -> str:
    """Return the CUDA compiler of mmcv's ops for `collect_env`."""
    return 'n/a'


def __getattr__(name: str) -> Callable:
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return missing_op(name)
