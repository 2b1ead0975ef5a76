"""Pseudo-labels: training data from the maps and presence of a teacher or a student.

Names are imported on first use, with teachers, `apis` and `evaluation`. `label_rules.py` and
`label_formats.py` need none of them.
"""

from lfi.utils.lazy_names import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        'label_log': ('LabelLog',),
        'label_rules': ('LabelRules',),
        'labelling': ('ImageLabels', 'ObjectLabel', 'label_image'),
        'masks': ('concept_masks', 'map_strength'),
        'written_labels': ('write_labels',),
    },
)
