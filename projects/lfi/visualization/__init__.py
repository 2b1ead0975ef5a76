"""Figures of interaction maps, a hook that draws them, and a backend for MLflow.

Imports `structures`, `engine` and models.
"""

from .figures import draw_answers, draw_interactions, draw_teachers
from .interaction_visualization_hook import InteractionVisualizationHook
from .map_drawing import add_map_scale, draw_map, presence_words
from .mlflow_backend import MLflowVisBackend

__all__ = [
    'InteractionVisualizationHook',
    'MLflowVisBackend',
    'add_map_scale',
    'draw_answers',
    'draw_map',
    'draw_interactions',
    'draw_teachers',
    'presence_words',
]
