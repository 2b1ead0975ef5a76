"""Procedural drawing of the `Shapes` data set: outlines, scenes with captions, painters.

The folder imports no other part of `lfi`.
"""

from .painters import PAINTERS
from .scene import CLASS_NAMES, Scene, caption, sample_scene

__all__ = ['CLASS_NAMES', 'PAINTERS', 'Scene', 'caption', 'sample_scene']
