"""What a teacher is asked about: names, prompts and their embeddings. It knows no model and no data set."""

from .caption_phrases import CaptionPhrases
from .concept_bank import ConceptBank
from .concept_check_hook import ConceptCheckHook
from .imagenet_names import ImageNetNames
from .names import concept_names
from .prompts import prompt_templates

__all__ = [
    'CaptionPhrases',
    'ConceptBank',
    'ConceptCheckHook',
    'ImageNetNames',
    'concept_names',
    'prompt_templates',
]
