"""What makes any backbone one that can be asked; it imports `backbones`."""

from .interaction_query_adapter import InteractionQueries, interaction_query_adapter

__all__ = ['InteractionQueries', 'interaction_query_adapter']
