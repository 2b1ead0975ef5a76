from .figures import draw_curves, draw_interactions, draw_teachers
from .interaction_visualization_hook import InteractionVisualizationHook

__all__ = ['InteractionVisualizationHook', 'draw_curves', 'draw_interactions', 'draw_teachers']
