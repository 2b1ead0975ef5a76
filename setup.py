"""What `pyproject.toml` cannot say: configs, tools and the model index go into the package.

`pip install -e '.[onedl]'` or `pip install -e '.[openmmlab]'` installs LFI.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
LAZY_CONFIG = '''"""`{name}` for `with read_base():`."""

globals().update(__import__('lfi').config_dict('{name}'))
'''


# Not in wheels: bytecode, and what only developers of the package run.
UNSHIPPED = ('__pycache__', 'dev')


class BuildWithConfigs(build_py):
    """Puts configs, tools and the model index where MMEngine and MIM look for them."""

    def run(self) -> None:
        super().run()
        package = ROOT / 'projects/lfi' if self.editable_mode else Path(self.build_lib, 'lfi')
        shutil.rmtree(package / '.mim', ignore_errors=True)
        fill_mim(package / '.mim', link if self.editable_mode else copy)
        write_lazy_configs(package / 'configs')


def fill_mim(folder: Path, put: Callable[[Path, Path], None]) -> None:
    """Put configs, tools and the model index into a new folder, by links or as copies."""
    folder.mkdir(parents=True)
    for name in ('configs', 'tools', 'model-index.yml'):
        put(ROOT / name, folder / name)


def link(source: Path, target: Path) -> None:
    """A relative link, so that an editable install follows the sources; a copy where links cannot be made."""
    try:
        target.symlink_to(os.path.relpath(source, target.parent), source.is_dir())
    except OSError:
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*UNSHIPPED))
    else:
        shutil.copy(source, target)


def write_lazy_configs(folder: Path) -> None:
    """A module for each config, named as Python's identifiers are."""
    shutil.rmtree(folder, ignore_errors=True)
    for config in sorted((ROOT / 'configs').rglob('*.py')):
        name = config.relative_to(ROOT / 'configs').as_posix()
        if not name.startswith('_base_/'):
            module = folder / name.replace('-', '_')
            module.parent.mkdir(parents=True, exist_ok=True)
            module.write_text(LAZY_CONFIG.format(name=name))


setup(cmdclass={'build_py': BuildWithConfigs})
