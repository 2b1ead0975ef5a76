"""The configs that come with the package."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

PACKAGE = Path(__file__).parent
# Of an installed package; and of a clone that is on PYTHONPATH and was never installed.
FOLDERS = (PACKAGE / '.mim/configs', PACKAGE.parents[1] / 'configs')


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
        FileNotFoundError: if there is none; the message names the nearest ones.
    """
    folder = configs_folder()
    path = folder / name
    if not path.is_file():
        known = [config.relative_to(folder).as_posix() for config in folder.rglob('*.py')]
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        raise FileNotFoundError(f'lfi has no config {name!r}; near it are {", ".join(near) or "none"}')
    return str(path)


def config_dict(name: str) -> dict:
    """A config of LFI as plain data, with all that it inherits. Arguments and errors as `config_path`."""
    from mmengine.config import Config

    return Config.fromfile(config_path(name)).to_dict()
