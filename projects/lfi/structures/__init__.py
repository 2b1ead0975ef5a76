"""What teachers, caches, students, losses and metrics exchange."""

from .image_features import ImageFeatures
from .interaction_maps import DIRECTIONS, MASKED, REST, InteractionMaps
from .packed_maps import pack, packed_dtype, unpack
from .readings import TeacherReading
from .views import filled_share, numbers_like

__all__ = [
    'DIRECTIONS',
    'MASKED',
    'REST',
    'ImageFeatures',
    'InteractionMaps',
    'TeacherReading',
    'filled_share',
    'numbers_like',
    'pack',
    'packed_dtype',
    'unpack',
]
