"""What teachers, caches, students, losses and metrics exchange. It imports no other room of the package."""

from .image_features import ImageFeatures
from .interaction_maps import DIRECTIONS, MASKED, REST, InteractionMaps, shown_enough
from .mixed_maps import BatchMixture, mean_maps, mix_maps
from .packed_maps import pack, packed_dtype, unpack, without_maps
from .pieces import Pieces, piece_maps, shown_shares
from .readings import TeacherReading
from .views import most_filled, numbers_like, windows_of

__all__ = [
    'DIRECTIONS',
    'MASKED',
    'REST',
    'BatchMixture',
    'ImageFeatures',
    'InteractionMaps',
    'Pieces',
    'TeacherReading',
    'mean_maps',
    'mix_maps',
    'most_filled',
    'numbers_like',
    'pack',
    'packed_dtype',
    'piece_maps',
    'shown_enough',
    'shown_shares',
    'unpack',
    'without_maps',
    'windows_of',
]
