"""The weights of a checkpoint, and loading those that must be a model's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


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
        RuntimeError: if names or shapes differ; the message lists the shapes, or else the names.
    """
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
