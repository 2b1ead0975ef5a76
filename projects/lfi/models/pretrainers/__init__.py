"""Backbones that learn without labels and without a head."""

from .lfi_pretrainer import LFIPretrainer, ShuffledImagesPretrainer

__all__ = ['LFIPretrainer', 'ShuffledImagesPretrainer']
