"""Concepts: the names, prompts and embeddings that a teacher is asked about.

It imports no model and no data set.
"""

from .caption_phrases import CaptionPhrases
from .concept_bank import ConceptBank, prompt_templates, warn_of_same_embeddings
from .concept_check_hook import ConceptCheckHook
from .names import ImageNetNames, check_unrepeated, concept_names, repetition

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
