"""What goes wrong with a cache."""

from lfi.errors import UsageError


class CacheError(UsageError):
    """A cache that is missing, unfinished, corrupted, or of other maps than those asked for."""
