from .base import DenseExtractor, Extractor
from .clearclip import ClearCLIPExtractor
from .dense import DenseTrunkExtractor
from .maskclip import MaskCLIPExtractor

__all__ = ['ClearCLIPExtractor', 'DenseExtractor', 'DenseTrunkExtractor', 'Extractor', 'MaskCLIPExtractor']
