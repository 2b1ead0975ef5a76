"""Configs that come with the package."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from .errors import similar_names
from .utils.repositories import is_student

PACKAGE = Path(__file__).parent
ROOTS = {'LFI_DATA_ROOT': 'data', 'LFI_TEACHER_ROOT': 'checkpoints'}
"""Environment variables with the folders of data sets and teachers, and the configs' defaults."""
# Installed packages have tools and configs in `.mim`, a link to the clone in editable installs. A clone on
# PYTHONPATH has no `.mim`.
TOOLS = PACKAGE / '.mim/tools'


def tools_root() -> Path:
    """Return the folder of `configs/` and `tools/`, in the clone or in the installed package.

    Raises:
        FileNotFoundError: if the installation has no configs.
    """
    root = TOOLS.resolve().parent if TOOLS.is_dir() else PACKAGE.parents[1]
    if not (root / 'configs').is_dir():
        raise FileNotFoundError(f'this installation of lfi has no configs in {root}: install it again')
    return root


def configs_folder() -> Path:
    """Return the folder of the configs.

    Raises:
        FileNotFoundError: if the installation has no configs.
    """
    return tools_root() / 'configs'


def config_path(name: str) -> str:
    """Return the path of a config of LFI.

    A `_base_` can call it without an import:
    `_base_ = [__import__('lfi').config_path('classification/lfi_vit-128x6-p8_shapes.py')]`.

    Args:
        name: path of the config below `configs/`.

    Raises:
        FileNotFoundError: if there is no such config.
    """
    folder = configs_folder()
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f'lfi has no config {name!r}; {_suggestions(name, _all_configs(folder))}')
    return str(path)


def find_config(name: str) -> str:
    """Find a config by the name that a user gives.

    Args:
        name: path of a file; folder or repository of a student; or config of LFI, by its file name or its
            path below `configs/`, with or without `.py`, `configs/` and `lfi::`.

    Raises:
        FileNotFoundError: if there is no such config.
    """
    if Path(name).is_file() or is_student(name):
        return name
    folder = configs_folder()
    paths = _all_configs(folder)
    relative = f'{name.removeprefix("lfi::").removeprefix("configs/").removesuffix(".py")}.py'
    runnable = _runnable_configs(paths)
    if relative in paths or relative in runnable:
        return str(folder / runnable.get(relative, relative))
    raise FileNotFoundError(f'there is no config {name}; {_suggestions(relative, paths)}')


def config_names() -> list[str]:
    """Return the names of all configs that can be run, for `find_config`."""
    return sorted(name.removesuffix('.py') for name in _runnable_configs(_all_configs(configs_folder())))


def teacher_names() -> list[str]:
    """Return the names of the teachers of `teacher_config`."""
    return sorted(path.stem for path in (configs_folder() / '_base_/teachers').glob('*.py'))


def _all_configs(folder: Path) -> list[str]:
    """Return the paths of all configs, relative to their folder."""
    return sorted(config.relative_to(folder).as_posix() for config in folder.rglob('*.py'))


def _runnable_configs(paths: list[str]) -> dict[str, str]:
    """Return the paths of the configs that can be run, by their file names, which are unique."""
    return {path.rpartition('/')[2]: path for path in paths if not path.startswith('_base_/')}


def _suggestions(name: str, paths: list[str]) -> str:
    """Return the configs with similar file names, or with similar paths if the name is a path."""
    if '/' in name:
        last = '/'.join(name.split('/')[-2:])
        return similar_names(get_close_matches(last, paths, n=3, cutoff=0.4))
    runnable = _runnable_configs(paths)
    matches = get_close_matches(name, sorted(runnable), n=3, cutoff=0.4)
    return similar_names([runnable[match] for match in matches])


def config_dict(name: str) -> dict:
    """Return a config of LFI as plain data, with its bases merged, by the name of `config_path`."""
    from mmengine.config import Config

    return Config.fromfile(config_path(name)).to_dict()


def teacher_config(name: str, **changes: object) -> dict:
    """Return the config of a teacher in `configs/_base_/teachers/`.

    `teacher=__import__('lfi').teacher_config('clip-b16', concepts=['cat', 'dog'])`

    Args:
        name: name of the file without `.py`.
        changes: arguments of the teacher to add or to override.

    Raises:
        FileNotFoundError: if there is no such teacher.
    """
    return {**config_dict(f'_base_/teachers/{name}.py')['teacher'], **changes}
