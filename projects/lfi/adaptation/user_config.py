"""The config that a user has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from lfi.config_files import configs_folder, find_config
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError, as_usage_error, near_it

INSTALL = {'mmseg': 'segmentation'}
"""Projects that need not be installed, by the extra that brings them."""


@dataclass(frozen=True)
class UserConfig:
    """A config and how another one inherits from it.

    Args:
        path: of its file.
        package: the project that it is one of, as 'mmdet'; None for a file of the user's.
        cfg: what it says, with its bases.
    """

    path: Path
    package: str | None
    cfg: Config

    @property
    def scope(self) -> str:
        """Where its types are looked up that name no scope."""
        scope: str = self.cfg.model.get('_scope_') or self.cfg.get('default_scope') or 'mmengine'
        return scope

    def base_of(self, out: Path) -> str:
        """What `_base_` says in a file that inherits from it."""
        if self.package:
            folder = _configs_of(self.package)
            return f'{self.package}::{self.path.relative_to(folder).as_posix()}'
        return Path(os.path.relpath(self.path.resolve(), out.resolve().parent)).as_posix()


def read_user_config(name: str) -> UserConfig:
    """Read a config, and let its default scope be that of this process.

    Args:
        name: a file; `mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py`, or the file's name alone in place of
            its path; or one of LFI's, as `find_config` takes it.

    Raises:
        UsageError: if there is no such file, if it is not a config, or one that a text config cannot inherit.
    """
    package, path = locate_config(name)
    if package is None and path.resolve().is_relative_to(configs_folder().resolve()):
        package, path = 'lfi', path.resolve()
    return UserConfig(path, package, _read(name, path))


def locate_config(name: str) -> tuple[str | None, Path]:
    """The project that has a config, None for LFI's and for files; and its file.

    Args:
        name: as `read_user_config` takes it.

    Raises:
        UsageError: if there is no such file.
    """
    package, found, rest = name.partition('::')
    if found and package != 'lfi':
        return package, _find(package, rest)
    with as_usage_error(FileNotFoundError):
        return None, Path(find_config(name))


def _read(name: str, path: Path) -> Config:
    if _is_lazy(path):
        raise UsageError(
            f'{name} is a lazy config, from which a text config cannot inherit. Write it as a text config, '
            f'and adapt that: lfi print-config {path} --save-path {path.stem}_text.py'
        )
    cfg = load_config(str(path))
    model: Any = cfg.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        raise UsageError(
            f'{name} is not a config of a model: it has no model=dict(type=...), as OpenMMLab has'
        )
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    return cfg


def _is_lazy(path: Path) -> bool:
    try:
        lazy: bool = Config._is_lazy_import(str(path))
    # `load_config` says why it is no Python.
    except (SyntaxError, UnicodeDecodeError):
        return False
    return lazy


def _configs_of(package: str) -> Path:
    """The folder of a project's configs."""
    if package == 'lfi':
        return configs_folder().resolve()
    # The name of a module inside a package would import the package.
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        extra = INSTALL.get(package)
        fix = f": pip install 'lfi[{extra}]'" if extra else ''
        raise UsageError(f'{package}::… names a config of {package}, which is not installed{fix}')
    return Path(spec.origin).parent / '.mim/configs'


def _find(package: str, name: str) -> Path:
    folder = _configs_of(package)
    asked = f'{name.removesuffix(".py")}.py'
    if (folder / asked).is_file():
        return folder / asked
    known: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob('*.py')):
        if '_base_' not in path.parts:
            known.setdefault(path.name, []).append(path)
    if len(known.get(asked, ())) > 1:
        paths = ', '.join(f'{package}::{path.relative_to(folder).as_posix()}' for path in known[asked])
        raise UsageError(
            f'{package} has {len(known[asked])} configs of the name {asked}: name one of {paths}'
        )
    if asked in known:
        return known[asked][0]
    near = get_close_matches(Path(asked).name, sorted(known), n=3, cutoff=0.4)
    raise UsageError(f'{package} has no config {name}; {near_it(near)}')
