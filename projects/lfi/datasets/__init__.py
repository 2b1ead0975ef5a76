"""Data sets; they know no model."""

from .caption_phrases import CaptionPhrases
from .concept_names import concept_names
from .domain_folders import PACS, VLCS, leave_out
from .image_files import ImageFileDataset
from .imagenet_names import ImageNetNames
from .regions import regions_of
from .shapes import Shapes
from .tiny_imagenet import TinyImageNet
from .transforms import LoadCaptionConcepts, LoadHeatMap, LoadInteractionMaps, LoadRegions, RecordView
from .unaugmented import unaugmented

__all__ = [
    'CaptionPhrases',
    'ImageFileDataset',
    'ImageNetNames',
    'LoadCaptionConcepts',
    'LoadHeatMap',
    'LoadInteractionMaps',
    'LoadRegions',
    'PACS',
    'RecordView',
    'Shapes',
    'TinyImageNet',
    'VLCS',
    'concept_names',
    'leave_out',
    'regions_of',
    'unaugmented',
]
