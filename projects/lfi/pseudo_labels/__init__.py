"""Labels for images that have none: a teacher's or a student's maps and presence, as training data."""

from lfi.lazy_names import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        'answers': ('ConceptAnswers',),
        'label_log': ('LabelLog',),
        'label_rules': ('LabelRules',),
        'labelling': ('FoundObject', 'ImageLabels', 'label_image'),
        'masks': ('concept_masks', 'map_strength'),
        'student_reader': ('StudentReader',),
        'teacher_reader': ('TeacherReader',),
        'written_labels': ('write_labels',),
    },
)
