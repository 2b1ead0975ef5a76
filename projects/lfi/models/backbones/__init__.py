"""Student backbones."""

from lfi.old_names import old_names_of

from .conv_stem import ConvStem
from .interaction_query_vit import InteractionQueryViT
from .interaction_recorder import InteractionRecord, InteractionRecorder, InteractionStates

__all__ = ['ConvStem', 'InteractionQueryViT', 'InteractionRecord', 'InteractionRecorder', 'InteractionStates']

__getattr__ = old_names_of(__name__)
