"""Hooks that a run adds: non-finite losses, weights that do not fit, and what a resumed training lacks.

They import the registry and `engine/scalars.py`, and know no model.
"""
