from .interaction_maps import DIRECTIONS, MASKED, REST, InteractionMaps
from .packed_maps import pack, packed_dtype, unpack
from .views import compose_views, view_of_top_left

__all__ = [
    'DIRECTIONS',
    'MASKED',
    'REST',
    'InteractionMaps',
    'compose_views',
    'pack',
    'packed_dtype',
    'unpack',
    'view_of_top_left',
]
