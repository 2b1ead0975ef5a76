"""Concepts: names, prompts and text embeddings for a teacher."""

from .caption_phrases import CaptionPhrases
from .concept_bank import ConceptBank, prompt_templates, warn_about_equal_embeddings
from .concept_check_hook import ConceptCheckHook
from .names import ImageNetNames, check_unique, concept_names, duplicates_message

__all__ = [
    'CaptionPhrases',
    'ConceptBank',
    'ConceptCheckHook',
    'ImageNetNames',
    'check_unique',
    'concept_names',
    'prompt_templates',
    'duplicates_message',
    'warn_about_equal_embeddings',
]
