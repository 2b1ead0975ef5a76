"""The configs that come with the package."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

PACKAGE = Path(__file__).parent
# Of an installed package; and of a clone that is on PYTHONPATH and was never installed.
FOLDERS = (PACKAGE / '.mim/configs', PACKAGE.parents[1] / 'configs')

# Ablations and negative controls that were configs, and whose options they are now.
OLD_CONTROLS = {
    'shuffled-attention': 'baselines/attention-transfer',
    **dict.fromkeys(
        (
            *('shuffled-images', 'shuffled-places', 'lfi-positions', 'lfi-concepts'),
            *('lfi-no-write-back', 'lfi-not-persistent'),
        ),
        'classification/lfi',
    ),
}
# Parts that no student has any more.
GONE_CONTROLS = ('lfi-no-text-class', 'text-class', 'lfi-index', 'lfi-hungarian')


def configs_folder() -> Path:
    """Where the configs lie.

    Raises:
        FileNotFoundError: if the installation has none.
    """
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f'this installation of lfi has no configs in {FOLDERS[0]}: install it again')
    return folder


def tools_root() -> Path:
    """The folder of `configs/` and `tools/`: a clone's own, or where a wheel has put them.

    Raises:
        FileNotFoundError: as `configs_folder`.
    """
    return configs_folder().resolve().parent


def config_path(name: str) -> str:
    """Where a config of LFI lies.

    A `_base_` that calls it needs nothing imported before:
    `_base_ = [__import__('lfi').config_path('classification/lfi_vit-tiny_shapes.py')]`.

    Args:
        name: its path below `configs/`.

    Raises:
        FileNotFoundError: if there is none; the message says what became of an old name, or names the
            nearest ones.
    """
    folder = configs_folder()
    path = folder / name
    if not path.is_file():
        became = what_became_of(name)
        if became:
            raise FileNotFoundError(f'lfi has no config {name!r} any more: {became}')
        known = [config.relative_to(folder).as_posix() for config in folder.rglob('*.py')]
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        raise FileNotFoundError(f'lfi has no config {name!r}; near it are {", ".join(near) or "none"}')
    return str(path)


def what_became_of(name: str) -> str | None:
    """Where an old config of `controls/` is now, in words; None for any other name.

    Args:
        name: a path that ends in that of a config below `configs/`.
    """
    found = re.search(r'controls/(?P<arm>[\w-]+?)_(?P<student>[\w.-]+)\.py\b', name)
    if found is None:
        return None
    arm, student = found['arm'], found['student']
    if arm in GONE_CONTROLS:
        return (
            f'{arm!r} is of a student that recalls concepts, which lfi 0.1 has; this version asks, '
            f"as 'classification/lfi_{student}.py' does"
        )
    config = f'{OLD_CONTROLS.get(arm, f"baselines/{arm}")}_{student}.py'
    if not (configs_folder() / config).is_file():
        return None
    if arm not in OLD_CONTROLS:
        return f'it is {config!r} now'
    return (
        f'it is {config!r} now with the options of the arm {arm!r} in lfi/studies/arms.py, which '
        '`python tools/reproduce.py --print-commands STUDY` prints'
    )


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
