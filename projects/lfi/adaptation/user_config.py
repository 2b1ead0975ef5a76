"""Look-up and reading of a user's config."""

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
from lfi.errors import UsageError, as_usage_error, similar_names

EXTRAS = {'mmseg': 'segmentation'}
"""Extras of LFI that install optional projects, by package."""


@dataclass(frozen=True)
class UserConfig:
    """Config of a user or of a project.

    Args:
        path: path of the file.
        package: package of the project that ships the config, such as 'mmdet'; None for a user's file.
        cfg: the config, with its bases.
    """

    path: Path
    package: str | None
    cfg: Config

    @property
    def scope(self) -> str:
        """Registry scope of unscoped types."""
        scope: str = self.cfg.model.get('_scope_') or self.cfg.get('default_scope') or 'mmengine'
        return scope

    def base_path(self, out: Path) -> str:
        """Return the `_base_` of a file at `out` that inherits from this config."""
        if self.package:
            folder = _configs_folder(self.package)
            return f'{self.package}::{self.path.relative_to(folder).as_posix()}'
        return Path(os.path.relpath(self.path.resolve(), out.resolve().parent)).as_posix()


def read_user_config(name: str) -> UserConfig:
    """Read a config, and set its default scope for this process.

    Args:
        name: a file; a project's config, `mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py` or the same without
            folders; or the name of one of LFI's configs.

    Raises:
        UsageError: if the file does not exist, is no config of a model, or is a lazy config.
    """
    package, path = locate_config(name)
    if package is None and path.resolve().is_relative_to(configs_folder().resolve()):
        package, path = 'lfi', path.resolve()
    return UserConfig(path, package, _read(name, path))


def locate_config(name: str) -> tuple[str | None, Path]:
    """Return the package that ships a config, or None for LFI's configs and for files; and the config's path.

    Args:
        name: name of the config, see `read_user_config`.

    Raises:
        UsageError: if the file does not exist.
    """
    package, separator, path = name.partition('::')
    if separator and package != 'lfi':
        return package, _find_config(package, path)
    with as_usage_error(FileNotFoundError):
        return None, Path(find_config(name))


def _read(name: str, path: Path) -> Config:
    if _is_lazy(path):
        raise UsageError(
            f'{name} is a lazy config, from which a text config cannot inherit. Convert it to a text config '
            f'first: lfi print-config {path} --save-path {path.stem}_text.py'
        )
    cfg = load_config(str(path))
    model: Any = cfg.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        raise UsageError(f'{name} is not a config of a model: it has no model=dict(type=...)')
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    return cfg


def _is_lazy(path: Path) -> bool:
    try:
        lazy: bool = Config._is_lazy_import(str(path))
    # `load_config` reports the error.
    except (SyntaxError, UnicodeDecodeError):
        return False
    return lazy


def _configs_folder(package: str) -> Path:
    """Return the folder of a project's configs."""
    if package == 'lfi':
        return configs_folder().resolve()
    # `find_spec` of a dotted name would import the package.
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        extra = EXTRAS.get(package)
        fix = f": pip install 'lfi[{extra}]'" if extra else ''
        raise UsageError(f'{package}::… names a config of {package}, which is not installed{fix}')
    return Path(spec.origin).parent / '.mim/configs'


def _find_config(package: str, name: str) -> Path:
    folder = _configs_folder(package)
    file = f'{name.removesuffix(".py")}.py'
    if (folder / file).is_file():
        return folder / file
    configs: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob('*.py')):
        if '_base_' not in path.parts:
            configs.setdefault(path.name, []).append(path)
    if len(configs.get(file, ())) > 1:
        paths = ', '.join(f'{package}::{path.relative_to(folder).as_posix()}' for path in configs[file])
        raise UsageError(f'{package} has {len(configs[file])} configs named {file}: choose one of {paths}')
    if file in configs:
        return configs[file][0]
    similar = get_close_matches(Path(file).name, sorted(configs), n=3, cutoff=0.4)
    raise UsageError(f'{package} has no config {name}; {similar_names(similar)}')
