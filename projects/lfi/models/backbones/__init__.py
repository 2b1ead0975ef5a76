"""Student backbones."""

from .conv_stem import ConvStem
from .interaction_query_vit import InteractionQueryViT
from .interaction_recorder import InteractionRecord, InteractionRecorder, InteractionStates

__all__ = ['ConvStem', 'InteractionQueryViT', 'InteractionRecord', 'InteractionRecorder', 'InteractionStates']
