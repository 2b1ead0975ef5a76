"""What a run's settings are known by."""

from __future__ import annotations

from hashlib import blake2b


def settings_digest(*settings: object) -> str:
    """A digest of plain data, such as a config as a dict and further options.

    OpenMMLab's `_scope_` does not count: it says where names are looked up, and changes no value.
    """
    return blake2b(repr(_without_scopes(settings)).encode(), digest_size=8).hexdigest()


def _without_scopes(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_scopes(item) for key, item in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_scopes, value))
    return value
