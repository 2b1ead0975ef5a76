"""Students, teachers, supervision and backbones. They import no data set and no engine."""

from .adapters import interaction_query_adapter
from .backbones import ConvStem, InteractionQueryViT, InteractionStates, SimpleFPN
from .controls import Control, MeanTarget, OtherImage, ShuffledLocations
from .losses import InteractionDistillLoss
from .readout import InteractionReadout
from .students.class_activation import ByClassActivation, class_activation_maps
from .students.mixed_prediction import ByDualHead, ByMixture
from .students.predict_by import ByFeatures, ByHead, ByTexts
from .students.student import Student
from .supervision import (
    AffinityPrior,
    DenseFeatures,
    DualHead,
    FeatureMSE,
    Interactions,
    LightlyTrain,
    LogitKD,
    PairwiseAffinity,
    SupervisionPart,
)
from .teachers import Teacher, VLMAttentionTeacher

__all__ = [
    'AffinityPrior',
    'ByClassActivation',
    'ByDualHead',
    'ByFeatures',
    'ByHead',
    'ByMixture',
    'ByTexts',
    'ConvStem',
    'Control',
    'DenseFeatures',
    'DualHead',
    'FeatureMSE',
    'InteractionDistillLoss',
    'InteractionQueryViT',
    'InteractionReadout',
    'InteractionStates',
    'Interactions',
    'LightlyTrain',
    'LogitKD',
    'MeanTarget',
    'OtherImage',
    'PairwiseAffinity',
    'ShuffledLocations',
    'SimpleFPN',
    'Student',
    'SupervisionPart',
    'Teacher',
    'VLMAttentionTeacher',
    'class_activation_maps',
    'interaction_query_adapter',
]
