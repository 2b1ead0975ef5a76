"""Classes that stand in no module: a mixin before any other class."""

from __future__ import annotations

from typing import Any

_CLASSES: dict[tuple[str, Any, Any], Any] = {}


def mixed_class(prefix: str, mixin: Any, kind: Any) -> Any:
    """The class with a mixin before another class; one for each, whose instances go through pickle.

    Args:
        prefix: how its name begins, before that of the other class.
        mixin: what comes first among its bases.
        kind: the other class.
    """
    arguments = prefix, mixin, kind
    if arguments in _CLASSES:
        return _CLASSES[arguments]

    def reduced(instance: Any, protocol: int) -> Any:
        usual = object.__reduce_ex__(instance, max(protocol, 2))
        # The class has no name of its own by which pickle could find it; a subclass has.
        return (_blank, arguments, *usual[2:]) if type(instance) is found else usual

    members = {'__module__': mixin.__module__, '__reduce_ex__': reduced}
    found = _CLASSES[arguments] = type(f'{prefix}{kind.__name__}', (mixin, kind), members)
    return found


def _blank(prefix: str, mixin: Any, kind: Any) -> Any:
    found = mixed_class(prefix, mixin, kind)
    return found.__new__(found)
