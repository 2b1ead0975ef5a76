"""Structures that teachers, caches, students, losses and metrics exchange."""

from .batch_view import (
    CACHE_KEYS,
    BatchView,
    PixelFormat,
    get_valid_sizes,
    labelled_rows,
    recorded_mixture,
    set_multi_hot_,
)
from .image_features import ImageFeatures
from .interaction_maps import DIRECTIONS, MASKED, OTHER, InteractionMaps, valid_locations
from .labels import is_unlabelled
from .maps_in_view import maps_in_view, place_images
from .mixed_maps import BatchMixture, mean_maps, mix_maps
from .packed_maps import is_missing, missing_records, pack, packed_dtype, unpack
from .presence_fit import check_presence_fit, fitted_presence
from .readings import TeacherReading
from .student_grid import StudentGrid
from .targets import TEACHER_OUTPUTS, Targets
from .tiles import Placement, Tiles, place_tiles, visible_shares
from .views import image_windows, max_coverage, tensor_like

__all__ = [
    'CACHE_KEYS',
    'DIRECTIONS',
    'MASKED',
    'OTHER',
    'TEACHER_OUTPUTS',
    'BatchMixture',
    'BatchView',
    'ImageFeatures',
    'InteractionMaps',
    'Placement',
    'Tiles',
    'PixelFormat',
    'StudentGrid',
    'Targets',
    'TeacherReading',
    'check_presence_fit',
    'fitted_presence',
    'is_unlabelled',
    'labelled_rows',
    'maps_in_view',
    'set_multi_hot_',
    'mean_maps',
    'mix_maps',
    'max_coverage',
    'tensor_like',
    'pack',
    'packed_dtype',
    'place_images',
    'place_tiles',
    'recorded_mixture',
    'valid_locations',
    'visible_shares',
    'unpack',
    'get_valid_sizes',
    'is_missing',
    'missing_records',
    'image_windows',
]
