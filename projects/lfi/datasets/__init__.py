"""Data sets; they know no model."""

from .image_files import ImageFileDataset
from .shapes import Shapes
from .tiny_imagenet import TinyImageNet

__all__ = ['ImageFileDataset', 'Shapes', 'TinyImageNet']
