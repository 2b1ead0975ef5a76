"""Models as modules: modes, wrappers, weights, and classes that stand in no module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Within it a model is in evaluation mode; behind it each module is in the mode that it was in.

    Args:
        model: whole or in part in training mode, or not at all: then nothing is done.
    """
    modes = [(module, module.training) for module in model.modules()]
    if not any(training for _, training in modes):
        yield
        return
    try:
        model.eval()
        yield
    finally:
        # A module may do more than to note its mode, such as LeViT's, which forget what they keep for tests.
        for module, training in modes:
            if module.training != training:
                module.train(training)
        # One with frozen parts has set the mode of these again.
        for module, training in modes:
            module.training = training


def unwrapped(model: Any) -> Any:
    """The model itself, taken out of DDP and the like, and of mmengine's test-time augmentation."""
    while hasattr(model, 'module'):
        model = model.module
    return model


def state_dict_of(checkpoint: Mapping) -> dict[str, Tensor]:
    """The weights of a checkpoint by the names that they have in their model.

    Args:
        checkpoint: as it is stored, or its state dict alone; names may begin with DDP's `module.`.
    """
    state = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix('module.'): value for name, value in state.items()}


def load_strictly(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict that has exactly a model's weights.

    As `load_state_dict`, but for buffers that a model leaves out of what it loads, since it computes them
    itself, as mmpretrain's `SwinTransformerV2` does: those of the state dict must equal the model's own.

    Args:
        model: it gets the weights.
        state: by name.

    Raises:
        RuntimeError: if names or shapes differ; the message lists the shapes, or else the names; or as
            `check_values` says.
    """
    check_values(model, state)
    found = model.load_state_dict(state, strict=False)
    own = model.state_dict()
    missing = [
        name
        for name in found.missing_keys
        if not (name in state and state[name].to(own[name].device).equal(own[name]))
    ]
    if missing or found.unexpected_keys:
        raise RuntimeError(
            f'Missing key(s) in state_dict: {", ".join(missing) or "none"}. '
            f'Unexpected key(s) in state_dict: {", ".join(found.unexpected_keys) or "none"}.'
        )


def check_values(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Check that the values of a state dict are numbers of the kind that a model has at each name.

    torch makes a float of any number, and drops what is imaginary, without a word. One value that is not
    finite makes all results NaN, and the first class the best.

    Args:
        model: the model.
        state: by name; names that the model lacks are left out.

    Raises:
        RuntimeError: if the numbers of a name are of another kind, or no numbers; or infinite, where it is a
            parameter.
    """
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, own in model.state_dict().items():
        value = state.get(name)
        if value is None:
            continue
        if _kind(value) != _kind(own):
            raise RuntimeError(f'{name} has values of {value.dtype}, and the model has {own.dtype}.')
        if value.is_floating_point():
            value = value.to(own.dtype)
            # A buffer may mask by infinity.
            if not (value.isfinite() if name in parameters else ~value.isnan()).all():
                raise RuntimeError(f'{name} has values that are no finite numbers.')


def _kind(value: Tensor) -> tuple[bool, bool, bool]:
    return value.is_floating_point(), value.is_complex(), value.dtype == torch.bool


def has_base(kind: type, package: str, name: str) -> bool:
    """Whether a class inherits from one of another project, which is not imported for that.

    Args:
        kind: the class.
        package: of the project.
        name: of the project's class.
    """
    return any(
        base.__name__ == name and base.__module__.partition('.')[0] == package for base in kind.__mro__
    )


_CLASSES: dict[tuple[str, Any, Any], Any] = {}


def mixed_class(prefix: str, mixin: Any, kind: Any) -> Any:
    """The class with a mixin before another class; one for each, whose instances go through pickle.

    Args:
        prefix: how its name begins, before that of the other class.
        mixin: what comes first among its bases.
        kind: the other class.
    """
    arguments = prefix, mixin, kind
    if arguments in _CLASSES:
        return _CLASSES[arguments]

    def reduced(instance: Any, protocol: int) -> Any:
        usual = object.__reduce_ex__(instance, max(protocol, 2))
        # The class has no name of its own by which pickle could find it; a subclass has.
        return (_blank, arguments, *usual[2:]) if type(instance) is found else usual

    members = {'__module__': mixin.__module__, '__reduce_ex__': reduced}
    found = _CLASSES[arguments] = type(f'{prefix}{kind.__name__}', (mixin, kind), members)
    return found


def _blank(prefix: str, mixin: Any, kind: Any) -> Any:
    found = mixed_class(prefix, mixin, kind)
    return found.__new__(found)
