from .record_view import RecordView
from .view_matrix import view_matrix

__all__ = ['RecordView', 'view_matrix']
