"""Measures of a model's quality beyond accuracy, and the comparison of runs."""

from .pointing_game import chance_level, pointing_game
from .runs import Run, epoch_table, markdown_table, read_run

__all__ = ['Run', 'chance_level', 'epoch_table', 'markdown_table', 'pointing_game', 'read_run']
