"""Packaging of LFI; `pip install -e '.[onedl]'` or `pip install -e '.[openmmlab]'`."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
LAZY_CONFIG = '''"""`{name}` for `with read_base():`."""

globals().update(__import__('lfi').config_dict('{name}'))
'''


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def version() -> str:
    text = (ROOT / 'projects/lfi/version.py').read_text()
    return re.search(r"__version__ = '(.+)'", text).group(1)


# Not in wheels: bytecode, and what only developers of the package run.
UNSHIPPED = ('__pycache__', 'dev')


class BuildWithConfigs(build_py):
    """Puts configs, tools and the model index where MMEngine and MIM look for them."""

    def run(self) -> None:
        super().run()
        package = ROOT / 'projects/lfi' if self.editable_mode else Path(self.build_lib, 'lfi')
        shutil.rmtree(package / '.mim', ignore_errors=True)
        (package / '.mim').mkdir(parents=True)
        for name in ('configs', 'tools', 'model-index.yml'):
            put = link if self.editable_mode else copy
            put(ROOT / name, package / '.mim' / name)
        write_lazy_configs(package / 'configs')


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
        name = config.relative_to(ROOT / 'configs')
        if name.parts[0] != '_base_':
            module = folder / name.as_posix().replace('-', '_')
            module.parent.mkdir(parents=True, exist_ok=True)
            module.write_text(LAZY_CONFIG.format(name=name.as_posix()))


setup(
    name='lfi',
    version=version(),
    description='Learning from Interactions: distil a vision-language model into any OpenMMLab student',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    python_requires='>=3.10',
    cmdclass={'build_py': BuildWithConfigs},
    package_dir={'': 'projects'},
    packages=find_packages('projects'),
    package_data={'lfi': ['py.typed', 'models/teachers/embedded/*/*', 'human_study/page.html']},
    install_requires=requirements('runtime'),
    extras_require={
        'onedl': requirements('onedl'),
        'openmmlab': requirements('openmmlab'),
        'multimodal': requirements('multimodal'),
        'captions': requirements('captions'),
        'export': requirements('export'),
        'demo': requirements('demo'),
        'segmentation': requirements('segmentation'),
        'tests': [*requirements('tests'), *requirements('export')],
        'all': [
            line
            for name in ('onedl', 'multimodal', 'captions', 'export', 'tests')
            for line in requirements(name)
        ],
    },
)
