"""From a user's own config to one that learns from interactions: what `lfi adapt` writes."""

from .check import Checked, checked
from .overlay import Overlay, overlay
from .user_config import UserConfig, read_user_config

__all__ = ['Checked', 'Overlay', 'UserConfig', 'checked', 'overlay', 'read_user_config']
