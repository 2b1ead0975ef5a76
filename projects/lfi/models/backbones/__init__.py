"""Student backbones that record interactions, the neck of a plain ViT, and other projects' checkpoints.

They import the registry, but no teacher and no loss.
"""

from .conv_stem import ConvStem
from .interaction_query_vit import InteractionQueryViT
from .interaction_recorder import InteractionRecord, InteractionRecorder, InteractionStates
from .simple_fpn import SimpleFPN

__all__ = [
    'ConvStem',
    'InteractionQueryViT',
    'InteractionRecord',
    'InteractionRecorder',
    'InteractionStates',
    'SimpleFPN',
]
