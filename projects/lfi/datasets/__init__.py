"""Data sets; they know no model."""

from .caption_phrases import CaptionPhrases
from .concept_names import concept_names
from .image_files import ImageFileDataset
from .regions import regions_of
from .shapes import Shapes
from .tiny_imagenet import TinyImageNet
from .transforms import LoadCaptionConcepts, RecordView
from .unaugmented import unaugmented

__all__ = [
    'CaptionPhrases',
    'ImageFileDataset',
    'LoadCaptionConcepts',
    'RecordView',
    'Shapes',
    'TinyImageNet',
    'concept_names',
    'regions_of',
    'unaugmented',
]
