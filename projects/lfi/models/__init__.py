from .backbones import InteractionQueryViT, InteractionStates
from .distill import InteractionDistillMixin, LFIImageClassifier
from .losses import InteractionDistillLoss, TextSpaceClassLoss
from .necks import SimpleFPN
from .readout import InteractionReadout
from .teachers import ConceptBank, VLMAttentionTeacher

__all__ = [
    'ConceptBank',
    'InteractionDistillLoss',
    'InteractionDistillMixin',
    'InteractionQueryViT',
    'InteractionReadout',
    'InteractionStates',
    'LFIImageClassifier',
    'SimpleFPN',
    'TextSpaceClassLoss',
    'VLMAttentionTeacher',
]
