"""Configs of tasks, without a teacher but for pretraining: one file for each task."""

from .classification import classification_config
from .detection import detection_config
from .pretraining import pretraining_config
from .segmentation import segmentation_config

__all__ = ['classification_config', 'detection_config', 'pretraining_config', 'segmentation_config']
