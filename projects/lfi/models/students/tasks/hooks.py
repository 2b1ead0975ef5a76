"""What hooks of a data preprocessor see of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def samples_of_training(arguments: tuple, named: Mapping[str, Any]) -> Sequence:
    """The samples with which a data preprocessor is called in training, by a hook's view of it; else none."""
    training = named.get('training', arguments[1] if len(arguments) > 1 else False)
    data = arguments[0] if arguments else named.get('data')
    samples = data.get('data_samples') if isinstance(data, dict) else None
    return samples if training and isinstance(samples, Sequence) else ()
