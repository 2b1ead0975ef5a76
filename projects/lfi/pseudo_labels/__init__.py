"""Labels for images that have none: a teacher's or a student's maps and presence, as training data."""

from .answers import ConceptAnswers
from .label_log import LabelLog
from .labelling import FoundObject, ImageLabels, LabelRules, label_image
from .masks import concept_masks, map_strength
from .student_reader import StudentReader
from .teacher_reader import TeacherReader
from .written_labels import write_labels

__all__ = [
    'ConceptAnswers',
    'FoundObject',
    'ImageLabels',
    'LabelLog',
    'LabelRules',
    'StudentReader',
    'TeacherReader',
    'concept_masks',
    'label_image',
    'map_strength',
    'write_labels',
]
