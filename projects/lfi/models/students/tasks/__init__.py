"""Task families: the facts about a task that a student needs, one file each.

Importing the package registers the families. It does not import mmdet or mmseg.
"""

from importlib import import_module
from pkgutil import iter_modules

from .task import TASKS, Task, task_of

__all__ = ['TASKS', 'Task', 'task_of']

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')
