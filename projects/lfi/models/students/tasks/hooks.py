"""Access to the batch in hooks of a data preprocessor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def samples_of_training(arguments: tuple, kwargs: Mapping[str, Any]) -> Sequence:
    """Return the samples of a training batch from the arguments of a hook; () outside training."""
    training = kwargs.get('training', arguments[1] if len(arguments) > 1 else False)
    data = arguments[0] if arguments else kwargs.get('data')
    samples = data.get('data_samples') if isinstance(data, dict) else None
    return samples if training and isinstance(samples, Sequence) else ()
