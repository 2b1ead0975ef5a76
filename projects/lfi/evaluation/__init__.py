"""Measures of a model's quality beyond accuracy, and the comparison of runs."""

from .localization import (
    MEASURES,
    centre_map,
    energy_pointing_game,
    localization,
    map_average_precision,
)
from .paired import paired_table
from .pointing_game import chance_level, pointing_game
from .runs import Run, epoch_table, markdown_table, read_run

__all__ = [
    'MEASURES',
    'Run',
    'centre_map',
    'chance_level',
    'energy_pointing_game',
    'epoch_table',
    'localization',
    'map_average_precision',
    'markdown_table',
    'paired_table',
    'pointing_game',
    'read_run',
]
