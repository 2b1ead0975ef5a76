"""Debug messages that MMEngine prints before there is a logger."""

from __future__ import annotations

import logging
from typing import Any

import mmengine.logging


def drop_debug_messages() -> None:
    """Let MMEngine's `print_log` without a logger drop messages below INFO, for the rest of the process.

    MMEngine (0.10) prints them whatever their level. Packages that are imported later get the change: mmdet
    and mmpretrain report so that an optional package is not installed.
    """
    print_log = mmengine.logging.print_log

    def print_from_info(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if logger is not None or level >= logging.INFO:
            print_log(msg, logger, level)

    mmengine.logging.print_log = print_from_info
