"""Extractors, one file each: readers of interaction maps or dense features of a vision-language model.

Extractors import `towers` and the interfaces of models, and no teacher.
"""

from .base import DenseExtractor, Extractor, PresenceExtractor
from .blip import BlipExtractor
from .clearclip import ClearCLIPExtractor
from .coca import CoCaExtractor
from .dense import LocationsExtractor
from .gem import GEMExtractor
from .generative import GenerativeExtractor
from .legrad import LeGradExtractor
from .maskclip import MaskCLIPExtractor
from .naclip import NACLIPExtractor
from .own_locations import OwnLocationsExtractor
from .words import WordAttentionExtractor

__all__ = [
    'BlipExtractor',
    'ClearCLIPExtractor',
    'CoCaExtractor',
    'DenseExtractor',
    'Extractor',
    'GEMExtractor',
    'GenerativeExtractor',
    'LeGradExtractor',
    'LocationsExtractor',
    'MaskCLIPExtractor',
    'NACLIPExtractor',
    'OwnLocationsExtractor',
    'PresenceExtractor',
    'WordAttentionExtractor',
]
