"""What an experiment is made of: arms, a grid of cells, and the statistics, tables and figures of its runs.

Figures are imported from their own modules, since they need matplotlib.
"""

from lfi.utils.lazy_names import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        'convergence': ('compare_pairs', 'equal_finish_table', 'same_schedule_table'),
        'paired': ('Difference', 'mean_and_spread', 'paired_difference', 'paired_table'),
        'runs': ('Run', 'epoch_table', 'in_per_cent', 'markdown_table', 'metric_name', 'read_run'),
        'study': ('Cell', 'Study', 'read_cells'),
    },
)
