from .figures import draw_curves, draw_interactions

__all__ = ['draw_curves', 'draw_interactions']
