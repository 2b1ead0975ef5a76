"""Student backbones."""

from .conv_stem import ConvStem
from .interaction_query_vit import InteractionQueryViT, InteractionRecord, InteractionStates
from .mimetic_init import MimeticInit

__all__ = ['ConvStem', 'InteractionQueryViT', 'InteractionRecord', 'InteractionStates', 'MimeticInit']
