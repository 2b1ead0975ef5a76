"""Classifiers that learn from a teacher, their baselines and negative controls."""

from .class_activation import ClassActivationClassifier, class_activation_maps
from .feature_distill_classifier import FeatureDistillClassifier
from .labelled_image_classifier import LabelledImageClassifier
from .lfi_classifier import LFIClassifier
from .lfi_image_classifier import LFIImageClassifier
from .mean_target import MeanTargetClassifier
from .negative_controls import (
    ShuffledFeaturesClassifier,
    ShuffledImagesClassifier,
    ShuffledPlacesClassifier,
)
from .prior_image_classifier import PriorImageClassifier
from .text_classifier import (
    LFITextClassifier,
    MeanTargetTextClassifier,
    ShuffledImagesTextClassifier,
    TextPredictMixin,
)
from .zero_shot import LFIZeroShotClassifier

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
