"""What `mmengine.hub.get_model('lfi::...')` asks of a package."""

from importlib import import_module


def register_all_modules() -> None:
    """Import all that registers itself; registries otherwise do so when they are asked."""
    for part in ('concepts', 'datasets', 'engine', 'evaluation', 'models', 'visualization'):
        import_module(f'lfi.{part}')
