"""Classifiers that learn from a teacher, their baselines and negative controls. They import `students`."""

from .baselines import FeatureDistillClassifier, LabelledImageClassifier, PriorImageClassifier
from .class_activation import ClassActivationClassifier, class_activation_maps
from .controls import (
    MeanTargetClassifier,
    ShuffledFeaturesClassifier,
    ShuffledImagesClassifier,
    ShuffledPlacesClassifier,
)
from .lfi_image_classifier import LFIClassifier, LFIImageClassifier
from .text_classifier import (
    LFITextClassifier,
    LFIZeroShotClassifier,
    MeanTargetTextClassifier,
    ShuffledImagesTextClassifier,
    TextPredictMixin,
)

__all__ = [
    'ClassActivationClassifier',
    'FeatureDistillClassifier',
    'LFIClassifier',
    'LFIImageClassifier',
    'LFITextClassifier',
    'LFIZeroShotClassifier',
    'LabelledImageClassifier',
    'MeanTargetClassifier',
    'MeanTargetTextClassifier',
    'PriorImageClassifier',
    'ShuffledFeaturesClassifier',
    'ShuffledImagesClassifier',
    'ShuffledImagesTextClassifier',
    'ShuffledPlacesClassifier',
    'TextPredictMixin',
    'class_activation_maps',
]
