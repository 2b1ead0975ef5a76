"""Packaging of LFI; `pip install -e '.[onedl]'` or `pip install -e '.[openmmlab]'`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def version() -> str:
    text = (ROOT / 'projects/lfi/version.py').read_text()
    return re.search(r"__version__ = '(.+)'", text).group(1)


setup(
    name='lfi',
    version=version(),
    description='Learning from Interactions: distil a vision-language model into any OpenMMLab student',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    python_requires='>=3.10',
    package_dir={'': 'projects'},
    packages=find_packages('projects'),
    package_data={'lfi': ['models/teachers/embedded/*/*', 'visualization/human_study/page.html']},
    install_requires=requirements('runtime'),
    extras_require={
        'onedl': requirements('onedl'),
        'openmmlab': requirements('openmmlab'),
        'multimodal': requirements('multimodal'),
        'captions': requirements('captions'),
        'tests': requirements('tests'),
        'all': [line for name in ('onedl', 'multimodal', 'captions', 'tests') for line in requirements(name)],
    },
)
