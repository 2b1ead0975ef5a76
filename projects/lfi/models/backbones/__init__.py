from .interaction_query_vit import InteractionQueryViT, InteractionStates

__all__ = ['InteractionQueryViT', 'InteractionStates']
