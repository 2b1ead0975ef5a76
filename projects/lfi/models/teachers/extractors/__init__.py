"""Extractors, one file each: ways to read dense features or interaction maps out of a vision-language model.

They import `towers` and what a model offers, and know no teacher.
"""

from .base import DenseExtractor, Extractor, JudgingExtractor
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
    'JudgingExtractor',
    'LeGradExtractor',
    'LocationsExtractor',
    'MaskCLIPExtractor',
    'NACLIPExtractor',
    'OwnLocationsExtractor',
    'WordAttentionExtractor',
]
