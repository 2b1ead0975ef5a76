"""Adapters that let any backbone be asked. They import `backbones`."""

from .interaction_query_adapter import InteractionQueries, interaction_query_adapter

__all__ = ['InteractionQueries', 'interaction_query_adapter']
