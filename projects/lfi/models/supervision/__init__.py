"""Supervision parts: the losses that a student learns from beside its task, one file each.

Importing the package registers every part of this folder. Parts import backbones, losses and `structures`.
"""

from importlib import import_module
from pkgutil import iter_modules

from .affinity_prior import AffinityPrior
from .dense_features import DenseFeatures
from .dual_head import DualHead
from .feature_mse import FeatureMSE
from .interactions import Interactions
from .lightly_train import LightlyTrain
from .logit_kd import LogitKD
from .pairwise_affinity import PairwiseAffinity
from .part import StudentOutputs, StudentWidths, SupervisionPart

__all__ = [
    'AffinityPrior',
    'DenseFeatures',
    'DualHead',
    'FeatureMSE',
    'Interactions',
    'LightlyTrain',
    'LogitKD',
    'PairwiseAffinity',
    'StudentOutputs',
    'StudentWidths',
    'SupervisionPart',
]

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')
