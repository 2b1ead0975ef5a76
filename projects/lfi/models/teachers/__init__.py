# Makes the embedded teacher's trunk known to timm.
from . import shapes_trunk  # noqa: F401
from .concept_bank import ConceptBank
from .vlm_attention_teacher import PixelFormat, VLMAttentionTeacher

__all__ = ['ConceptBank', 'PixelFormat', 'VLMAttentionTeacher']
