"""Paths and contents of the configs that come with the package."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from .errors import similar_names
from .utils.repositories import is_student

PACKAGE = Path(__file__).parent
ROOTS = {'LFI_DATA_ROOT': 'data', 'LFI_TEACHER_ROOT': 'checkpoints'}
"""Environment variables of the folders of data sets and teachers, and the configs' defaults."""
# `.mim` holds an installed package's tools, or links to the clone of an editable one. A clone on PYTHONPATH
# that was never installed has no `.mim`.
TOOLS = PACKAGE / '.mim/tools'


def tools_root() -> Path:
    """Return the folder that holds `configs/` and `tools/`, of a clone or of an installed wheel.

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

    A config can call it in `_base_` without an import statement:
    `_base_ = [__import__('lfi').config_path('classification/lfi_vit-128x6-p8_shapes.py')]`.

    Args:
        name: path of the config below `configs/`.

    Raises:
        FileNotFoundError: if there is no such config. The message lists similar names.
    """
    folder = configs_folder()
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f'lfi has no config {name!r}; {_similar_configs(name, _all_configs(folder))}')
    return str(path)


def find_config(name: str) -> str:
    """Return the path of a config that a user names.

    Args:
        name: a file; a student's folder or repository, as written by `lfi.save_pretrained`; or a config of
            LFI: the file name, with or without `.py`, or the path below `configs/`, with or without
            `configs/` or `lfi::` before it.

    Raises:
        FileNotFoundError: if there is no such config, or it is a data set. The message lists similar names.
    """
    if is_student(name):
        return name
    if Path(name).is_file():
        if _is_data_file(Path(name)):
            raise FileNotFoundError(f'{name} is data and no config: lfi init {name} writes one')
        return name
    folder = configs_folder()
    configs = _all_configs(folder)
    file = f'{name.removeprefix("lfi::").removeprefix("configs/").removesuffix(".py")}.py'
    paths = _by_file_name(configs)
    if file in configs or file in paths:
        return str(folder / paths.get(file, file))
    if Path(name).is_dir():
        raise FileNotFoundError(_folder_message(Path(name)))
    similar = _near_files(Path(name)) or _similar_configs(file, configs)
    raise FileNotFoundError(f'there is no config {name}; {similar}')


def _folder_message(folder: Path) -> str:
    """Return the message for a folder in place of a config."""
    configs = ', '.join(str(file) for file in sorted(folder.glob('*.py'))[:3])
    if configs:
        return f'{folder} is a folder and no config: give a file in it, such as {configs}'
    return f'{folder} is data and no config: lfi init {folder} writes one'


def _is_data_file(path: Path) -> bool:
    """Whether a file is a table, a COCO JSON, or a data.yaml of YOLO. Configs may be YAML and JSON too."""
    suffix = path.suffix.lower()
    if suffix in ('.yaml', '.yml'):
        return re.search(r'^names\s*:', path.read_text('utf-8', 'replace'), re.MULTILINE) is not None
    if suffix == '.json':
        with path.open('rb') as file:
            head = file.read(1 << 16)
        return b'"annotations"' in head or b'"images"' in head
    return suffix in ('.csv', '.tsv')


def _near_files(path: Path) -> str:
    """Return a phrase with the configs of similar names in the folder of a path, and in the current one."""
    file = path.parent / f'{path.name.removesuffix(".py")}.py'
    found = {path.name: path for folder in (Path(), file.parent) for path in folder.glob('*.py')}
    similar = get_close_matches(file.name, sorted(found), n=2)
    return f'did you mean {" or ".join(str(found[near]) for near in similar)}?' if similar else ''


def config_names() -> list[str]:
    """Return the names of all configs that can be run, in the form that `find_config` takes."""
    return sorted(name.removesuffix('.py') for name in _by_file_name(_all_configs(configs_folder())))


def teacher_names() -> list[str]:
    """Return the names of the teachers for `teacher_config`."""
    return sorted(path.stem for path in (configs_folder() / '_base_/teachers').glob('*.py'))


def _all_configs(folder: Path) -> list[str]:
    """Return the paths of all configs, relative to their folder."""
    return sorted(config.relative_to(folder).as_posix() for config in folder.rglob('*.py'))


def _by_file_name(configs: list[str]) -> dict[str, str]:
    """Map the file names of the configs that can be run to their paths. File names are unique."""
    return {path.rpartition('/')[2]: path for path in configs if not path.startswith('_base_/')}


def _similar_configs(name: str, configs: list[str]) -> str:
    """Return a phrase that lists configs of similar names, or of similar paths if the name is a path."""
    if '/' in name:
        last = '/'.join(name.split('/')[-2:])
        return similar_names(get_close_matches(last, configs, n=3, cutoff=0.4))
    paths = _by_file_name(configs)
    similar = get_close_matches(name, sorted(paths), n=3, cutoff=0.4)
    return similar_names([paths[file] for file in similar])


def config_dict(name: str) -> dict:
    """Return a config of LFI as plain data, with its base configs merged. See `config_path` for arguments."""
    from mmengine.config import Config

    return Config.fromfile(config_path(name)).to_dict()


def teacher_config(name: str, **changes: object) -> dict:
    """Return the config of a teacher of `configs/_base_/teachers/`, with changes.

    `teacher=__import__('lfi').teacher_config('clip-b16', concepts=['cat', 'dog'])`

    Args:
        name: file name of the teacher's config, without `.py`.
        changes: arguments of the teacher to add or replace.

    Raises:
        FileNotFoundError: if there is no such config. The message lists similar names.
    """
    return {**config_dict(f'_base_/teachers/{name}.py')['teacher'], **changes}
