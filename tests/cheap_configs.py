"""Configs that cost little in tests."""

import importlib
import os
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


def cheap_configs() -> None:
    """Make configs cheap to read and to log, in this process.

    Those of mmdet parse all of its 200 model indices for each `mmdet::` of a base; here they are parsed once.
    Those of this repository, eight files each, are evaluated anew whenever they are read; here once in an
    environment. And yapf lays out a config whenever it is logged or saved, which takes three quarters of a
    Runner's start; here configs stay as they are.
    """
    utils = importlib.import_module('mmengine.config.utils')
    utils.load = cache(utils.load)
    config = importlib.import_module('mmengine.config').Config
    config._file2dict = staticmethod(evaluated_once(config._file2dict))
    for name in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):
        # Upstream's mmengine looks it up in the second of these.
        importlib.import_module(name).FormatCode = lambda text, **options: (text, True)


def evaluated_once(evaluate: Callable) -> Callable:
    """`Config._file2dict` that evaluates each config of the repository once in an environment."""
    found = {}

    def file2dict(filename: str, *args, **kwargs) -> tuple:
        path = Path(filename)
        if not path.is_absolute() or CONFIGS not in path.resolve().parents:
            return evaluate(filename, *args, **kwargs)
        variables = sorted(item for item in os.environ.items() if item[0].startswith('LFI_'))
        key = repr((str(path), args, sorted(kwargs.items()), variables))
        if key not in found:
            found[key] = evaluate(filename, *args, **kwargs)
        return deepcopy(found[key])

    return file2dict
