"""Figures of interaction maps."""

from .figures import draw_answers, draw_interactions, draw_teachers
from .interaction_visualization_hook import InteractionVisualizationHook

__all__ = [
    'InteractionVisualizationHook',
    'draw_answers',
    'draw_interactions',
    'draw_teachers',
]
