"""The module that stands in for `mmcv._ext`.

The functions keep the argument names of mmcv's own bindings and write to their output arguments, so the
wrappers in `mmcv.ops` work with either. Any other op exists too, because `mmcv.ops` asks for all
of them by name when it is imported, and raises when it is called.
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
    """What `collect_env` prints as the compiler of mmcv's ops."""
    return 'n/a'


def get_compiling_cuda_version() -> str:
    """What `collect_env` prints as the CUDA compiler of mmcv's ops."""
    return 'n/a'


def __getattr__(name: str) -> Callable:
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return missing_op(name)
