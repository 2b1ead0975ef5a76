"""What an experiment is made of: arms, a grid of cells, and the statistics, tables and figures of its runs.

Figures are imported from their own modules, since they need matplotlib.
"""

from .convergence import compare_pairs, equal_finish_table, same_schedule_table
from .paired import Difference, mean_and_spread, paired_difference, paired_table
from .runs import Run, epoch_table, in_per_cent, markdown_table, metric_name, read_run
from .study import Cell, Study, read_cells

__all__ = [
    'Cell',
    'Difference',
    'Run',
    'Study',
    'compare_pairs',
    'epoch_table',
    'equal_finish_table',
    'in_per_cent',
    'markdown_table',
    'mean_and_spread',
    'metric_name',
    'paired_difference',
    'paired_table',
    'read_cells',
    'read_run',
    'same_schedule_table',
]
