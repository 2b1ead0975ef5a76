"""Entry points of Python, and inference with students and teachers: predictions, maps of texts, the cache.

This package may import all others except `pseudo_labels` and `cli`. Names are imported lazily: writing a
cache needs no inferencer.
"""

from lfi.utils.debug_messages import drop_debug_messages
from lfi.utils.lazy_names import lazy_names

# Packages of OpenMMLab are imported with the first of these names, and print that optional ones are missing.
drop_debug_messages()
__getattr__, __all__ = lazy_names(
    __name__,
    {
        'drawing': ('draw_result',),
        'image_answers': ('Drawable', 'ImageAnswer', 'ImageAnswers'),
        'interaction_inferencer': ('InteractionInferencer',),
        'interaction_result': ('InteractionResult', 'result_record'),
        'loaded_model': ('Model',),
        'readers': ('ConceptAnswers', 'StudentReader', 'TeacherReader'),
        'sources': ('list_sources',),
    },
)
