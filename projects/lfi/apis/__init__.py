"""Asking students and teachers: predictions and interaction maps of any text, the demo page, the cache.

It may import all but `hub`, `pseudo_labels` and `cli`. A name is imported when it is asked for: writing a
cache needs no inferencer.
"""

from lfi.utils.lazy_names import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        'drawing': ('draw_result',),
        'interaction_inferencer': ('InteractionInferencer',),
        'interaction_result': ('InteractionResult', 'result_record'),
        'readers': ('ConceptAnswers', 'StudentReader', 'TeacherReader'),
        'sources': ('list_sources',),
    },
)
