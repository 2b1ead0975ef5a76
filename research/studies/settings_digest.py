"""Digest of the settings of a run."""

from __future__ import annotations

import os
from hashlib import blake2b

from lfi.config_files import ROOTS

# Keys that change no result: the scope of the registry, hooks that only check, and `sync_buffers`, which does
# nothing in one process.
WITHOUT_EFFECT = ('_scope_', 'non_finite', 'concept_check', 'sync_buffers')


def fix_roots() -> None:
    """Make the environment variables of the roots absolute, for tools that run in other folders."""
    for variable, default in ROOTS.items():
        os.environ[variable] = os.path.abspath(os.environ.get(variable, default))


def settings_digest(*settings: object) -> str:
    """Return a digest of plain data, such as a config as a dict and further options.

    The order of a dict's keys and keys without effect do not count. Paths are relative to `LFI_DATA_ROOT` and
    `LFI_TEACHER_ROOT`, so the digest is the same on any machine.
    """
    return blake2b(repr(_effective(settings)).encode(), digest_size=8).hexdigest()


def _effective(value: object) -> object:
    if isinstance(value, dict):
        items = ((key, _effective(item)) for key, item in value.items() if key not in WITHOUT_EFFECT)
        return dict(sorted(items, key=lambda item: str(item[0])))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_effective, value))
    return _from_root(value) if isinstance(value, str) else value


def _from_root(path: str) -> str:
    roots = {variable: os.environ.get(variable, default) for variable, default in ROOTS.items()}
    # Longest first: one root may lie below the other.
    for variable, root in sorted(roots.items(), key=lambda item: -len(item[1])):
        if path.startswith(f'{root}/'):
            return f'${variable}{path.removeprefix(root)}'
    return path
