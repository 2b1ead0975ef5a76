"""What became of the checkpoints of earlier versions."""

from __future__ import annotations

from collections.abc import Container

from .errors import CheckpointError


def refuse_recalling(names: Container[str], prefix: str) -> None:
    """Refuse the checkpoint of a student that recalls concepts: in one that asks it would answer at random.

    Args:
        names: of the checkpoint's parameters.
        prefix: how those of a read-out that asks begin in the model, `readout.`.

    Raises:
        CheckpointError: The checkpoint is of such a student.
    """
    name = f'{prefix}query_head.weight'
    if name in names:
        raise CheckpointError(
            f'the checkpoint has {name}: it is of a student that recalls concepts, which lfi 0.1 reads; '
            'this version asks about them. Train again, or install lfi 0.1 (commit 3bb0737)'
        )
