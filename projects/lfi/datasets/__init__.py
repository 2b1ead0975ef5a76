"""Data sets; they know no model."""

from .image_files import ImageFileDataset
from .shapes import Shapes
from .tiny_imagenet import TinyImageNet
from .transforms import RecordView

__all__ = ['ImageFileDataset', 'RecordView', 'Shapes', 'TinyImageNet']
