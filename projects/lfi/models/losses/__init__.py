"""Interaction loss, and the means and log-probabilities that supervision parts share.

The package imports `structures` and the registry only.
"""

from .interaction_distill_loss import InteractionDistillLoss
from .means import scale_to_joined_batch, shared_mean

__all__ = ['InteractionDistillLoss', 'scale_to_joined_batch', 'shared_mean']
