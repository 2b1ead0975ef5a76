"""Configs that `lfi adapt` writes: a user's own config, changed to learn from interactions.

`user_config` reads the user's config, `overlay` writes the new one, and `check` builds it. This package may
import `engine` and `models`.
"""

from .check import CheckReport, check_config
from .overlay import Overlay, build_overlay
from .user_config import UserConfig, locate_config, read_user_config

__all__ = [
    'CheckReport',
    'Overlay',
    'UserConfig',
    'build_overlay',
    'check_config',
    'locate_config',
    'read_user_config',
]
