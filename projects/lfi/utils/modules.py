"""Helpers for modules: modes, wrappers, weights and classes with mixins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluation mode in a block, and restore the mode of each module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    if not any(training for _, training in modes):
        yield
        return
    try:
        model.eval()
        yield
    finally:
        # A module's `train` may do more: LeViT's drops its cached attention biases.
        for module, training in modes:
            if module.training != training:
                module.train(training)
        # The `train` of a model with frozen parts changes their modes again.
        for module, training in modes:
            module.training = training


def unwrap_model(model: Any) -> Any:
    """Return the model inside wrappers: DDP and mmengine's test-time augmentation."""
    while hasattr(model, 'module'):
        model = model.module
    return model


def state_dict_of(checkpoint: Mapping) -> dict[str, Tensor]:
    """Return the weights of a checkpoint without the prefix `module.` of DDP.

    Args:
        checkpoint: a checkpoint with a `state_dict`, or a state dict.
    """
    state = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix('module.'): value for name, value in state.items()}


def load_strictly(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict that has exactly a model's weights.

    Unlike `load_state_dict(strict=True)`, it accepts buffers that a model computes itself and does not load,
    such as those of mmpretrain's `SwinTransformerV2`, if they equal the model's buffers.

    Args:
        model: model to load the weights into.
        state: state dict.

    Raises:
        RuntimeError: if names or shapes differ, or `check_values` finds a wrong value.
    """
    check_values(model, state)
    result = model.load_state_dict(state, strict=False)
    loaded = model.state_dict()
    missing = [
        name
        for name in result.missing_keys
        if not (name in state and state[name].to(loaded[name].device).equal(loaded[name]))
    ]
    if missing or result.unexpected_keys:
        raise RuntimeError(
            f'Missing key(s) in state_dict: {", ".join(missing) or "none"}. '
            f'Unexpected key(s) in state_dict: {", ".join(result.unexpected_keys) or "none"}.'
        )


def check_values(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Check that a state dict has finite values of the model's kinds of dtypes.

    torch casts any dtype to float silently, and one value that is not finite makes all results NaN.

    Args:
        model: model with the expected dtypes.
        state: state dict; names that the model lacks are skipped.

    Raises:
        RuntimeError: if a value is NaN, a parameter is infinite, or a dtype is of another kind (floating
            point, complex, bool).
    """
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, expected in model.state_dict().items():
        value = state.get(name)
        if value is None:
            continue
        if _dtype_kind(value) != _dtype_kind(expected):
            raise RuntimeError(f'{name} has values of {value.dtype}, and the model has {expected.dtype}.')
        if value.is_floating_point():
            value = value.to(expected.dtype)
            # Buffers such as attention masks may hold infinity.
            if not (value.isfinite() if name in parameters else ~value.isnan()).all():
                raise RuntimeError(f'{name} has values that are no finite numbers.')


def _dtype_kind(value: Tensor) -> tuple[bool, bool, bool]:
    return value.is_floating_point(), value.is_complex(), value.dtype == torch.bool


def has_base(kind: type, package: str, name: str) -> bool:
    """Whether a class inherits from a class of another project, without importing that project.

    Args:
        kind: class to check.
        package: package of the base class.
        name: name of the base class.
    """
    return any(
        base.__name__ == name and base.__module__.partition('.')[0] == package for base in kind.__mro__
    )


def is_multi_label(head: Any) -> bool:
    """Whether a classifier's head scores each class alone, as `MultiLabelClsHead` of mmpretrain does."""
    return has_base(type(head), 'mmpretrain', 'MultiLabelClsHead')


_CLASSES: dict[tuple[str, Any, Any], Any] = {}


def class_with_mixin(prefix: str, mixin: Any, kind: Any) -> Any:
    """Return the class that has a mixin as its first base; it is cached, and its instances can be pickled.

    Args:
        prefix: prefix of the new name, before the name of `kind`.
        mixin: first base.
        kind: second base.
    """
    arguments = prefix, mixin, kind
    if arguments in _CLASSES:
        return _CLASSES[arguments]

    def reduce(instance: Any, protocol: int) -> Any:
        default = object.__reduce_ex__(instance, max(protocol, 2))
        # Pickle finds subclasses by name, but not this class.
        return (_new_instance, arguments, *default[2:]) if type(instance) is mixed else default

    members = {'__module__': mixin.__module__, '__reduce_ex__': reduce}
    mixed = _CLASSES[arguments] = type(f'{prefix}{kind.__name__}', (mixin, kind), members)
    return mixed


def _new_instance(prefix: str, mixin: Any, kind: Any) -> Any:
    mixed = class_with_mixin(prefix, mixin, kind)
    return mixed.__new__(mixed)
