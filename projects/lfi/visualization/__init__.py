"""Figures of interaction maps, a hook that draws them, and a backend for MLflow.

Imports `structures`, `engine` and models.
"""

from .figures import draw_answers, draw_interactions, draw_teachers
from .interaction_visualization_hook import InteractionVisualizationHook
from .mlflow_backend import MLflowVisBackend

__all__ = [
    'InteractionVisualizationHook',
    'MLflowVisBackend',
    'draw_answers',
    'draw_interactions',
    'draw_teachers',
]
