"""What of a model serves its training alone, which each class says in `training_only`."""

from __future__ import annotations


def training_only_of(kind: type) -> tuple[str, ...]:
    """Names of the arguments and parts of a class of models that no prediction needs, its bases' included.

    What predicts by texts reads one of them, the read-out.
    """
    return tuple(name for base in kind.__mro__ for name in vars(base).get('training_only', ()))
