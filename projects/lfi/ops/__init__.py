"""mmcv's compiled ops by torchvision, for an mmcv that was installed without them.

`mmcv.ops`, and with it every mmdet model, imports `mmcv._ext`. Where that module does not exist,
`install()` lets `lfi.ops.ext` be found in its place. It imports nothing else of the package.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ['StandIn', 'install']

NAME = 'mmcv._ext'


def install() -> None:
    """Let `lfi.ops.ext` stand in for `mmcv._ext`, unless mmcv has compiled ops of its own.

    Call it before anything imports `mmcv.ops`. Calling it again changes nothing. It imports nothing.
    """
    if not any(isinstance(finder, StandIn) for finder in sys.meta_path):
        # Behind all others: an extension that is there is found first.
        sys.meta_path.append(StandIn())


class StandIn(MetaPathFinder, Loader):
    """Finds `lfi.ops.ext` where `mmcv._ext` is looked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of the stand-in, for the one name that it stands in for."""
        return ModuleSpec(name, self) if name == NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The stand-in itself, which one may have imported by its own name."""
        from . import ext

        return ext

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to be done."""
