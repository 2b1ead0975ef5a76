from .backbones import InteractionQueryViT, InteractionStates
from .controls import (
    FeatureDistillClassifier,
    ShuffledFeaturesClassifier,
    ShuffledImagesClassifier,
    ShuffledPlacesClassifier,
)
from .distill import InteractionDistillMixin, LFIImageClassifier
from .export import export_student, query_student
from .losses import (
    AttentionTransferLoss,
    FeatureMSELoss,
    InteractionDistillLoss,
    LogitKDLoss,
    TextSpaceClassLoss,
)
from .necks import SimpleFPN
from .readout import InteractionReadout
from .teachers import ConceptBank, VLMAttentionTeacher
from .zero_shot import LFIZeroShotClassifier

__all__ = [
    'AttentionTransferLoss',
    'ConceptBank',
    'FeatureDistillClassifier',
    'FeatureMSELoss',
    'InteractionDistillLoss',
    'InteractionDistillMixin',
    'InteractionQueryViT',
    'InteractionReadout',
    'InteractionStates',
    'LFIImageClassifier',
    'LFIZeroShotClassifier',
    'LogitKDLoss',
    'ShuffledFeaturesClassifier',
    'ShuffledImagesClassifier',
    'ShuffledPlacesClassifier',
    'SimpleFPN',
    'TextSpaceClassLoss',
    'VLMAttentionTeacher',
    'export_student',
    'query_student',
]
