"""Transforms of a data pipeline: they record the view and load what an image's records hold.

Those that change mmdet's need mmdet, and are imported on demand. They import `structures` and no data set.
"""

from .loading import LoadCaptionConcepts, LoadHeatMap, LoadInteractionMaps, LoadRegions
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
