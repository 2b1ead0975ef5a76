"""What makes any backbone one that can be asked."""

from .interaction_query_adapter import InteractionQueries, interaction_query_adapter

__all__ = ['InteractionQueries', 'interaction_query_adapter']
