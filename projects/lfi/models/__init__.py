"""Students, teachers, losses and the backbones that they need. They import no data set and no engine."""

from .adapters import interaction_query_adapter
from .backbones import ConvStem, InteractionQueryViT, InteractionStates, SimpleFPN
from .losses import (
    AffinityPrior,
    AttentionTransferLoss,
    DenseFeaturesLoss,
    FeatureMSELoss,
    InteractionDistillLoss,
    LightlyTrainLoss,
    LogitKDLoss,
    MeanAttentionLoss,
)
from .students.classifiers import (
    ClassActivationClassifier,
    FeatureDistillClassifier,
    LabelledImageClassifier,
    LFIClassifier,
    LFIImageClassifier,
    LFITextClassifier,
    LFIZeroShotClassifier,
    MeanTargetClassifier,
    MeanTargetTextClassifier,
    PriorImageClassifier,
    ShuffledFeaturesClassifier,
    ShuffledImagesClassifier,
    ShuffledImagesTextClassifier,
    ShuffledPlacesClassifier,
)
from .students.distill import InteractionDistillMixin
from .students.pretrainers import FeatureDistillPretrainer, LFIPretrainer, ShuffledImagesPretrainer
from .students.query_student import query_student
from .students.readout import InteractionReadout
from .teachers import VLMAttentionTeacher

__all__ = [
    'AffinityPrior',
    'AttentionTransferLoss',
    'ClassActivationClassifier',
    'ConvStem',
    'DenseFeaturesLoss',
    'FeatureDistillClassifier',
    'FeatureDistillPretrainer',
    'FeatureMSELoss',
    'InteractionDistillLoss',
    'InteractionDistillMixin',
    'InteractionQueryViT',
    'InteractionReadout',
    'InteractionStates',
    'LFIClassifier',
    'LFIImageClassifier',
    'LFIPretrainer',
    'LFITextClassifier',
    'LFIZeroShotClassifier',
    'LightlyTrainLoss',
    'LogitKDLoss',
    'MeanAttentionLoss',
    'MeanTargetClassifier',
    'MeanTargetTextClassifier',
    'LabelledImageClassifier',
    'PriorImageClassifier',
    'ShuffledFeaturesClassifier',
    'ShuffledImagesClassifier',
    'ShuffledImagesPretrainer',
    'ShuffledImagesTextClassifier',
    'ShuffledPlacesClassifier',
    'SimpleFPN',
    'VLMAttentionTeacher',
    'interaction_query_adapter',
    'query_student',
]
