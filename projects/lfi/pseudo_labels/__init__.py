"""Labels for images that have none: a teacher's or a student's maps and presence, as training data.

It imports teachers, `apis` and `evaluation`, each when a name is asked for: `label_rules.py` is light.
"""

from lfi.utils.lazy_names import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        'label_log': ('LabelLog',),
        'label_rules': ('LabelRules',),
        'labelling': ('FoundObject', 'ImageLabels', 'label_image'),
        'masks': ('concept_masks', 'map_strength'),
        'written_labels': ('write_labels',),
    },
)
