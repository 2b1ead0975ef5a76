"""What teachers, caches, students, losses and metrics exchange. It imports no other room of the package."""

from .batch_view import (
    CACHE_KEYS,
    BatchView,
    PixelFormat,
    labelled_rows,
    recorded_mixture,
    set_multi_hot_,
    valid_sizes_of,
)
from .image_features import ImageFeatures
from .interaction_maps import DIRECTIONS, MASKED, OTHER, InteractionMaps, shown_enough
from .labels import is_unlabelled
from .maps_in_view import maps_in_view, mixed_maps_in_view
from .mixed_maps import BatchMixture, mean_maps, mix_maps
from .packed_maps import pack, packed_dtype, unpack, without_maps
from .readings import TeacherReading
from .student_grid import StudentGrid
from .targets import NEEDS, Targets
from .tiles import Tiles, shown_shares, tile_maps
from .views import most_filled, numbers_like, windows_of

__all__ = [
    'CACHE_KEYS',
    'DIRECTIONS',
    'MASKED',
    'OTHER',
    'NEEDS',
    'BatchMixture',
    'BatchView',
    'ImageFeatures',
    'InteractionMaps',
    'Tiles',
    'PixelFormat',
    'StudentGrid',
    'Targets',
    'TeacherReading',
    'is_unlabelled',
    'labelled_rows',
    'maps_in_view',
    'set_multi_hot_',
    'mean_maps',
    'mix_maps',
    'mixed_maps_in_view',
    'most_filled',
    'numbers_like',
    'pack',
    'packed_dtype',
    'tile_maps',
    'recorded_mixture',
    'shown_enough',
    'shown_shares',
    'unpack',
    'valid_sizes_of',
    'without_maps',
    'windows_of',
]
