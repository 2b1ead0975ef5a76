"""Using a trained model: its predictions, and its interaction maps of any text.

It imports models, `engine` and `visualization`, and no tool.
"""

from .drawing import draw_result
from .interaction_inferencer import InteractionInferencer
from .interaction_result import InteractionResult, result_record
from .sources import list_sources

__all__ = ['InteractionInferencer', 'InteractionResult', 'draw_result', 'list_sources', 'result_record']
