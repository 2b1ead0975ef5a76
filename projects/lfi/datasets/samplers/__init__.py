"""Which images come in an epoch, and in which order."""

from .labelled_share import LabelledShareSampler

__all__ = ['LabelledShareSampler']
