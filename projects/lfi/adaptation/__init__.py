"""From a user's own config to one that learns from interactions: what `lfi adapt` writes.

`user_config` reads the user's config, `overlay` writes the new one, and `check` builds it. It imports
`engine` and models.
"""

from .check import Checked, checked
from .overlay import Overlay, overlay
from .user_config import UserConfig, locate_config, read_user_config

__all__ = ['Checked', 'Overlay', 'UserConfig', 'checked', 'locate_config', 'overlay', 'read_user_config']
