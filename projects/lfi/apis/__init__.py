"""Asking students and teachers: predictions and interaction maps of any text, the demo page, the cache.

It may import all but `hub`, `pseudo_labels` and `cli`.
"""

from .concept_answers import ConceptAnswers
from .drawing import draw_result
from .interaction_inferencer import InteractionInferencer
from .interaction_result import InteractionResult, result_record
from .sources import list_sources
from .student_reader import StudentReader
from .teacher_reader import TeacherReader

__all__ = [
    'ConceptAnswers',
    'InteractionInferencer',
    'InteractionResult',
    'StudentReader',
    'TeacherReader',
    'draw_result',
    'list_sources',
    'result_record',
]
