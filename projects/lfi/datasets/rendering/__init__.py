"""Procedural drawing behind the `Shapes` data set: outlines, scenes, painters, captions."""

from .captions import caption
from .painters import PAINTERS
from .scene import CLASS_NAMES, Scene, sample_scene

__all__ = ['CLASS_NAMES', 'PAINTERS', 'Scene', 'caption', 'sample_scene']
