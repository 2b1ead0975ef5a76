"""What teachers, caches, students, losses and metrics exchange. It imports no other room of the package."""

from .batch_view import (
    CACHE_KEYS,
    BatchView,
    PixelFormat,
    labelled_rows,
    mark,
    recorded_mixture,
    valid_sizes_of,
)
from .image_features import ImageFeatures
from .interaction_maps import DIRECTIONS, MASKED, REST, InteractionMaps, shown_enough
from .labels import is_unlabelled
from .maps_in_view import maps_in_view, mixed_maps_in_view
from .mixed_maps import BatchMixture, mean_maps, mix_maps
from .packed_maps import pack, packed_dtype, unpack, without_maps
from .pieces import Pieces, piece_maps, shown_shares
from .readings import TeacherReading
from .student_grid import StudentGrid
from .targets import NEEDS, Targets
from .views import most_filled, numbers_like, windows_of

__all__ = [
    'CACHE_KEYS',
    'DIRECTIONS',
    'MASKED',
    'REST',
    'NEEDS',
    'BatchMixture',
    'BatchView',
    'ImageFeatures',
    'InteractionMaps',
    'Pieces',
    'PixelFormat',
    'StudentGrid',
    'Targets',
    'TeacherReading',
    'is_unlabelled',
    'labelled_rows',
    'maps_in_view',
    'mark',
    'mean_maps',
    'mix_maps',
    'mixed_maps_in_view',
    'most_filled',
    'numbers_like',
    'pack',
    'packed_dtype',
    'piece_maps',
    'recorded_mixture',
    'shown_enough',
    'shown_shares',
    'unpack',
    'valid_sizes_of',
    'without_maps',
    'windows_of',
]
