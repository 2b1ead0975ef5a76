"""Texts that a teacher does not tell apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import Tensor, as_tensor, autocast

# Unit embeddings are then nearer than 0.01, which moves no logit by 1 at CLIP's scale of 100. At 0.9995 one
# may move by 3, and those of "circle" and "a circle" are at 0.998.
SAME = 0.99995
# Rows that are compared at once: of 10,000 texts in 40 MB.
BLOCK = 1024


def warn_of_same_embeddings(names: Sequence[str], embeddings: Tensor, known: int = 0) -> None:
    """Warn of different texts whose embeddings are the same: they get the same answers.

    It names the first two, and how many more such pairs there are. A text that stands there twice is passed
    over, as the classes of a data set may.

    Args:
        names: of the texts.
        embeddings: (C, E) float32, of unit length.
        known: so many, the first, were compared with one another before. Defaults to 0.
    """
    numbers = {name: number for number, name in enumerate(names)}
    texts = as_tensor([numbers[name] for name in names], device=embeddings.device)
    first, pairs = None, 0
    for start in range(known, len(names), BLOCK):
        end = min(start + BLOCK, len(names))
        # In half precision near texts would be the same.
        with autocast(embeddings.device.type, enabled=False):
            same = embeddings[start:end] @ embeddings[:end].T >= SAME
        same &= texts[start:end, None] != texts[:end]
        # Each pair once.
        same = same.tril(start - 1)
        pairs += int(same.sum())
        if first is None and pairs:
            row, column = divmod(int(same.flatten().int().argmax()), end)
            first = names[column], names[start + row]
    if first is None:
        return
    more = '' if pairs == 1 else f', and {pairs - 1} more pair{"s" * (pairs > 2)} of texts too'
    print_log(
        f'{first[0]!r} and {first[1]!r} have the same text embedding{more}: one is found wherever the other '
        'is. The teacher may not know their words, or their language: name them in other words, or leave one '
        'out',
        'current',
        logging.WARNING,
    )
