"""Transforms that record the view, and load maps, regions, captions and heat maps.

Transforms that subclass mmdet's need mmdet and are imported on demand. No module here imports a data set.
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
