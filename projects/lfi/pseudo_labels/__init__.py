"""Labels for images that have none: a teacher's or a student's maps and presence, as training data.

It imports teachers, `apis` and `evaluation`, each when a name is asked for: `arguments.py` is light.
"""

from lfi.lazy_names import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        'answers': ('ConceptAnswers', 'concept_masks', 'map_strength'),
        'arguments': ('LabelRules',),
        'label_log': ('LabelLog',),
        'labelling': ('FoundObject', 'ImageLabels', 'label_image'),
        'readers': ('StudentReader', 'TeacherReader'),
        'written_labels': ('write_labels',),
    },
)
