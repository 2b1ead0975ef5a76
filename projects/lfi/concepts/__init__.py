"""What a teacher is asked about: names, prompts and their embeddings. It knows no model and no data set."""

from .caption_phrases import CaptionPhrases
from .concept_bank import ConceptBank
from .concept_check_hook import ConceptCheckHook
from .imagenet_names import ImageNetNames
from .names import check_unrepeated, concept_names, repetition
from .prompts import prompt_templates
from .same_embeddings import warn_of_same_embeddings

__all__ = [
    'CaptionPhrases',
    'ConceptBank',
    'ConceptCheckHook',
    'ImageNetNames',
    'check_unrepeated',
    'concept_names',
    'prompt_templates',
    'repetition',
    'warn_of_same_embeddings',
]
