"""mmcv's compiled ops by torchvision, for an mmcv that was installed without them.

`mmcv.ops`, and with it every mmdet model, imports `mmcv._ext`. Where that module does not exist,
`install()` puts `lfi.ops.ext` in its place.
"""

import importlib.util
import sys

__all__ = ['install']


def install() -> None:
    """Let `lfi.ops.ext` stand in for `mmcv._ext`, unless mmcv has compiled ops of its own.

    Call it before anything imports `mmcv.ops`. Calling it again changes nothing. It imports mmcv, but
    neither `mmcv.ops` nor torchvision.

    Raises:
        ModuleNotFoundError: if mmcv is not installed.
    """
    name = 'mmcv._ext'
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    from . import ext

    sys.modules[name] = ext
    # As the import of a submodule does.
    vars(sys.modules['mmcv'])['_ext'] = ext
