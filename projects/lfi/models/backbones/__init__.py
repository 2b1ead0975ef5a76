"""Student backbones."""

from lfi.old_names import old_names_of

from .conv_stem import ConvStem
from .interaction_query_vit import InteractionQueryViT, InteractionRecord, InteractionStates

__all__ = ['ConvStem', 'InteractionQueryViT', 'InteractionRecord', 'InteractionStates']

__getattr__ = old_names_of(__name__)
