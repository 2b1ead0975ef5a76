"""Inference with students and teachers: predictions, interaction maps of texts, the demo page, the cache.

This package may import all others except `hub`, `pseudo_labels` and `cli`. Names are imported lazily: writing
a cache needs no inferencer.
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
