"""Backbones that learn without labels and without a head."""

from .feature_distill_pretrainer import FeatureDistillPretrainer
from .lfi_pretrainer import LFIPretrainer, ShuffledImagesPretrainer

__all__ = ['FeatureDistillPretrainer', 'LFIPretrainer', 'ShuffledImagesPretrainer']
