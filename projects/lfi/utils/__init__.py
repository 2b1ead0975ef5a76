"""Helpers that know neither models nor data: files, options, names, settings of the process.

They import `errors` alone, each where it is asked for: most commands begin without torch.
"""

from importlib import import_module


def register_all_modules() -> None:
    """Import all that registers itself, as `mmengine.hub.get_model('lfi::...')` asks of a package."""
    for part in ('concepts', 'datasets', 'engine', 'evaluation', 'models', 'visualization'):
        import_module(f'lfi.{part}')
