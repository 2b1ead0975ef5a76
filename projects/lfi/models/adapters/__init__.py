"""Adapters that add interaction queries to any backbone. They import `backbones`."""

from .interaction_query_adapter import InteractionQueries, interaction_query_adapter

__all__ = ['InteractionQueries', 'interaction_query_adapter']
