"""Task families: what a student must know of its task. One file each, which registers its own.

None imports mmdet or mmseg before one of their models is a student.
"""

from importlib import import_module
from pkgutil import iter_modules

from .task import TASKS, Task, task_of

__all__ = ['TASKS', 'Task', 'task_of']

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')
