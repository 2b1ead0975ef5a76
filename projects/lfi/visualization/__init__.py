from .figures import draw_curves, draw_interactions, draw_teachers

__all__ = ['draw_curves', 'draw_interactions', 'draw_teachers']
