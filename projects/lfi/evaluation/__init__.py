from .runs import Run, epoch_table, markdown_table, read_run

__all__ = ['Run', 'epoch_table', 'markdown_table', 'read_run']
