"""The configs that come with the package."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from .errors import near_it
from .utils.repositories import is_student

PACKAGE = Path(__file__).parent
ROOTS = {'LFI_DATA_ROOT': 'data', 'LFI_TEACHER_ROOT': 'checkpoints'}
"""The variables that say where data sets and teachers lie, and the configs' defaults."""
# An installed package has them in `.mim`, which an editable one links to its clone; a clone that is on
# PYTHONPATH and was never installed has none.
TOOLS = PACKAGE / '.mim/tools'


def tools_root() -> Path:
    """The folder of `configs/` and `tools/`: a clone's own, or where a wheel has put them.

    Raises:
        FileNotFoundError: if the installation has none.
    """
    root = TOOLS.resolve().parent if TOOLS.is_dir() else PACKAGE.parents[1]
    if not (root / 'configs').is_dir():
        raise FileNotFoundError(f'this installation of lfi has no configs in {root}: install it again')
    return root


def configs_folder() -> Path:
    """Where the configs lie.

    Raises:
        FileNotFoundError: as `tools_root`.
    """
    return tools_root() / 'configs'


def config_path(name: str) -> str:
    """Where a config of LFI lies.

    A `_base_` that calls it needs nothing imported before:
    `_base_ = [__import__('lfi').config_path('classification/lfi_vit-128x6-p8_shapes.py')]`.

    Args:
        name: its path below `configs/`.

    Raises:
        FileNotFoundError: if there is none; the message names the nearest ones.
    """
    folder = configs_folder()
    path = folder / name
    if not path.is_file():
        near = _near(name, _known_configs(folder))
        raise FileNotFoundError(f'lfi has no config {name!r}; {near}')
    return str(path)


def find_config(name: str) -> str:
    """Where a config lies that a user names.

    Args:
        name: a file; a student's folder or repository, as `lfi.save_pretrained` wrote it; or of LFI's configs
            the file's name alone, with or without `.py`, or its path below `configs/`, with or without
            `configs/` or `lfi::` before it.

    Raises:
        FileNotFoundError: if there is none; the message names the nearest ones.
    """
    if Path(name).is_file() or is_student(name):
        return name
    folder = configs_folder()
    known = _known_configs(folder)
    asked = f'{name.removeprefix("lfi::").removeprefix("configs/").removesuffix(".py")}.py'
    path_of = _by_name(known)
    if asked in known or asked in path_of:
        return str(folder / path_of.get(asked, asked))
    raise FileNotFoundError(f'there is no config {name}; {_near(asked, known)}')


def config_names() -> list[str]:
    """The names of all configs that can be run, as `find_config` takes them."""
    return sorted(name.removesuffix('.py') for name in _by_name(_known_configs(configs_folder())))


def teacher_names() -> list[str]:
    """The names of the teachers that `teacher_config` knows."""
    return sorted(path.stem for path in (configs_folder() / '_base_/teachers').glob('*.py'))


def _known_configs(folder: Path) -> list[str]:
    """The paths of all configs below their folder."""
    return sorted(config.relative_to(folder).as_posix() for config in folder.rglob('*.py'))


def _by_name(known: list[str]) -> dict[str, str]:
    """The paths of what can be run, by the names of the files; no two of them are alike."""
    return {path.rpartition('/')[2]: path for path in known if not path.startswith('_base_/')}


def _near(name: str, known: list[str]) -> str:
    """The configs whose names, or whose paths where the name is one, are the nearest."""
    if '/' in name:
        last = '/'.join(name.split('/')[-2:])
        return near_it(get_close_matches(last, known, n=3, cutoff=0.4))
    path_of = _by_name(known)
    near = get_close_matches(name, sorted(path_of), n=3, cutoff=0.4)
    return near_it([path_of[each] for each in near])


def config_dict(name: str) -> dict:
    """A config of LFI as plain data, with all that it inherits. Arguments and errors as `config_path`."""
    from mmengine.config import Config

    return Config.fromfile(config_path(name)).to_dict()


def teacher_config(name: str, **changes: object) -> dict:
    """A teacher of `configs/_base_/teachers/`, for a config that says what it is asked about.

    `teacher=__import__('lfi').teacher_config('clip-b16', concepts=['cat', 'dog'])`

    Args:
        name: of its file, without `.py`.
        changes: further arguments of the teacher, and other values of its own.

    Raises:
        FileNotFoundError: as `config_path`.
    """
    return {**config_dict(f'_base_/teachers/{name}.py')['teacher'], **changes}
