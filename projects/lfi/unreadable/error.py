"""The error of images that cannot be read."""

from lfi.errors import UsageError

from .unreadable_files import Unreadable


class UnreadableImageError(UsageError):
    """An image that cannot be read where none is left out; or too many of a data set.

    Args:
        message: what is said.
        image: the one that was asked for. Defaults to None: it is about several.
    """

    def __init__(self, message: str, image: Unreadable | None = None) -> None:
        super().__init__(message)
        self.image = image
