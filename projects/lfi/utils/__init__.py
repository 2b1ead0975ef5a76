"""Helpers without models or data: files, options, names, settings of the process.

Import them from their modules: most commands start without torch.
"""

from importlib import import_module


def register_all_modules() -> None:
    """Import all modules that register types; `mmengine.hub.get_model('lfi::...')` calls it."""
    for package in ('concepts', 'datasets', 'engine', 'evaluation', 'models', 'visualization'):
        import_module(f'lfi.{package}')
