from .concept_bank import ConceptBank
from .vlm_attention_teacher import PixelFormat, VLMAttentionTeacher

__all__ = ['ConceptBank', 'PixelFormat', 'VLMAttentionTeacher']
