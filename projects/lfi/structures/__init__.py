from .interaction_maps import DIRECTIONS, MASKED, REST, InteractionMaps

__all__ = ['DIRECTIONS', 'MASKED', 'REST', 'InteractionMaps']
