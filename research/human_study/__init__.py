"""Blinded study in which people compare two interaction maps of a concept."""

from .answers import Rater, StudyError, judgements, read_key, read_raters
from .report import analyse
from .study import Pair, build_study, catch_pairs

__all__ = [
    'Pair',
    'Rater',
    'StudyError',
    'analyse',
    'build_study',
    'catch_pairs',
    'judgements',
    'read_key',
    'read_raters',
]
