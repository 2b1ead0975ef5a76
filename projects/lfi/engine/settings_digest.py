"""What a run's settings are known by."""

from __future__ import annotations

from hashlib import blake2b

# `_scope_` says where names are looked up, and the hook `non_finite` looks on: neither changes a run.
WITHOUT_EFFECT = ('_scope_', 'non_finite')


def settings_digest(*settings: object) -> str:
    """A digest of plain data, such as a config as a dict and further options, without what has no effect."""
    return blake2b(repr(_effective(settings)).encode(), digest_size=8).hexdigest()


def _effective(value: object) -> object:
    if isinstance(value, dict):
        return {key: _effective(item) for key, item in value.items() if key not in WITHOUT_EFFECT}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_effective, value))
    return value
