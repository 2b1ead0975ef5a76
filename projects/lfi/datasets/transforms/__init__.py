from .load_caption_concepts import LoadCaptionConcepts
from .record_view import RecordView
from .view_matrix import view_matrix

__all__ = ['LoadCaptionConcepts', 'RecordView', 'view_matrix']
