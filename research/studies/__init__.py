"""Parts of an experiment: arms, a grid of cells, and the statistics, tables and figures of the runs.

Import figures from their own modules: they need matplotlib.
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
