"""Configs that cost little in tests."""

import importlib
from functools import cache


def cheap_configs() -> None:
    """Make configs cheap to read and to log, in this process.

    Those of mmdet parse all of its 200 model indices for each `mmdet::` of a base; here they are parsed once.
    And yapf lays out a config whenever it is logged or saved, which takes three quarters of a Runner's start;
    here configs stay as they are.
    """
    utils = importlib.import_module('mmengine.config.utils')
    utils.load = cache(utils.load)
    for name in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):
        # Upstream's mmengine looks it up in the second of these.
        importlib.import_module(name).FormatCode = lambda text, **options: (text, True)
