"""Student backbones."""

from .interaction_query_vit import InteractionQueryViT, InteractionStates
from .mimetic_init import MimeticInit

__all__ = ['InteractionQueryViT', 'InteractionStates', 'MimeticInit']
