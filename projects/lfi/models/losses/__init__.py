"""Distillation losses, one file each, and the means and log-probabilities that they share.

Each file of this folder is imported, and registers its own. A loss imports `structures` and the registry.
"""

from importlib import import_module
from pkgutil import iter_modules

from .affinity_prior import AffinityPrior
from .attention_transfer_loss import AttentionTransferLoss
from .dense_features_loss import DenseFeaturesLoss
from .feature_mse_loss import FeatureMSELoss
from .interaction_distill_loss import InteractionDistillLoss
from .lightly_train_loss import LightlyTrainLoss
from .logit_kd_loss import LogitKDLoss
from .mean_attention_loss import MeanAttentionLoss
from .means import as_of_one_batch, shared_mean

__all__ = [
    'AffinityPrior',
    'AttentionTransferLoss',
    'DenseFeaturesLoss',
    'FeatureMSELoss',
    'InteractionDistillLoss',
    'LightlyTrainLoss',
    'LogitKDLoss',
    'MeanAttentionLoss',
    'as_of_one_batch',
    'shared_mean',
]

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')
