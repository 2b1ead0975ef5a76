"""Replacements of mmcv's compiled ops by torchvision's, for an mmcv without compiled ops.

`mmcv.ops`, and so each mmdet model, imports `mmcv._ext`. If that module does not exist, `install()` makes
`lfi.ops.ext` importable in its place. This module imports no other module of the package.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ['StandIn', 'install']

NAME = 'mmcv._ext'


def install() -> None:
    """Make `lfi.ops.ext` importable as `mmcv._ext`, unless mmcv has compiled ops.

    Call it before any import of `mmcv.ops`. Further calls change nothing.
    """
    if not any(isinstance(finder, StandIn) for finder in sys.meta_path):
        # The last finder, so that an existing extension takes precedence.
        sys.meta_path.append(StandIn())


class StandIn(MetaPathFinder, Loader):
    """Import hook that finds `lfi.ops.ext` as `mmcv._ext`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the stand-in for `mmcv._ext`, and None for other names."""
        return ModuleSpec(name, self) if name == NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return `lfi.ops.ext`, which may be imported under its own name already."""
        from . import ext

        return ext

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module is executed already."""
