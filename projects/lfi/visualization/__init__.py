from .convergence_figure import draw_convergence
from .figures import draw_curves, draw_interactions, draw_teachers
from .interaction_visualization_hook import InteractionVisualizationHook
from .study_figure import draw_study

__all__ = [
    'InteractionVisualizationHook',
    'draw_convergence',
    'draw_curves',
    'draw_interactions',
    'draw_study',
    'draw_teachers',
]
