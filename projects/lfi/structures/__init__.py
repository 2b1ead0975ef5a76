from .interaction_maps import DIRECTIONS, MASKED, REST, InteractionMaps
from .packed_maps import pack, packed_dtype, unpack
from .views import filled_share

__all__ = [
    'DIRECTIONS',
    'MASKED',
    'REST',
    'InteractionMaps',
    'filled_share',
    'pack',
    'packed_dtype',
    'unpack',
]
