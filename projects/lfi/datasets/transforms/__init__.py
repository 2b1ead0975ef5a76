"""Transforms of a data pipeline: they record the view and load what an image's records hold.

Those that change mmdet's need mmdet, and are imported on demand. They import `structures` and no data set.
"""

from .load_caption_concepts import LoadCaptionConcepts
from .load_heat_map import LoadHeatMap
from .load_interaction_maps import LoadInteractionMaps
from .load_regions import LoadRegions
from .record_view import RecordView
from .unrecorded_steps import refuse_unrecorded_steps
from .view_matrix import view_matrix

__all__ = [
    'LoadCaptionConcepts',
    'LoadHeatMap',
    'LoadInteractionMaps',
    'LoadRegions',
    'RecordView',
    'refuse_unrecorded_steps',
    'view_matrix',
]
