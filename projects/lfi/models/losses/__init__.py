"""The interaction loss, and the means and log-probabilities that all supervision shares.

They import `structures` and the registry.
"""

from .interaction_distill_loss import InteractionDistillLoss
from .means import as_of_one_batch, shared_mean

__all__ = ['InteractionDistillLoss', 'as_of_one_batch', 'shared_mean']
