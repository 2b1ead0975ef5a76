"""Distillation losses."""

from .attention_transfer_loss import AttentionTransferLoss
from .feature_mse_loss import FeatureMSELoss
from .interaction_distill_loss import InteractionDistillLoss
from .logit_kd_loss import LogitKDLoss
from .text_space_class_loss import TextSpaceClassLoss

__all__ = [
    'AttentionTransferLoss',
    'FeatureMSELoss',
    'InteractionDistillLoss',
    'LogitKDLoss',
    'TextSpaceClassLoss',
]
