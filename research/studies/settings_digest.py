"""What a run's settings are known by."""

from __future__ import annotations

import os
from hashlib import blake2b

from lfi.config_files import ROOTS

# `_scope_` says where names are looked up, and these hooks look on: they change no run. Nor does
# `sync_buffers`, where there is one process.
WITHOUT_EFFECT = ('_scope_', 'non_finite', 'concept_check', 'sync_buffers')


def fix_roots() -> None:
    """Let the roots mean the same in other folders, where tools are run."""
    for variable, default in ROOTS.items():
        os.environ[variable] = os.path.abspath(os.environ.get(variable, default))


def settings_digest(*settings: object) -> str:
    """A digest of plain data, such as a config as a dict and further options, without what has no effect.

    The order of a dict's keys has none. Paths below `LFI_DATA_ROOT` and `LFI_TEACHER_ROOT` count from there,
    so that the digest is the same on any machine.
    """
    return blake2b(repr(_effective(settings)).encode(), digest_size=8).hexdigest()


def _effective(value: object) -> object:
    if isinstance(value, dict):
        kept = ((key, _effective(item)) for key, item in value.items() if key not in WITHOUT_EFFECT)
        return dict(sorted(kept, key=lambda item: str(item[0])))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_effective, value))
    return _from_root(value) if isinstance(value, str) else value


def _from_root(path: str) -> str:
    roots = {variable: os.environ.get(variable, default) for variable, default in ROOTS.items()}
    # One may lie below the other.
    for variable, root in sorted(roots.items(), key=lambda item: -len(item[1])):
        if path.startswith(f'{root}/'):
            return f'${variable}{path.removeprefix(root)}'
    return path
