"""Count of the unreadable images among the samples of tar files."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log

from lfi.unreadable import MAX_LOGGED, Counts, Unreadable, UnreadableList, refuse_too_many


class UnreadableSamples:
    """Unreadable images among the samples that a process has read.

    Args:
        max_share: largest share of unreadable images, for `refuse_too_many`.
        unreadable: list that they are added to.
        effect: what becomes of them, for the log.
    """

    def __init__(self, max_share: float, unreadable: UnreadableList, effect: str) -> None:
        self.max_share, self.unreadable, self.effect = max_share, unreadable, effect
        self.bad, self.checked = 0, 0

    def without(self, item: Any, shard: str) -> Any:
        """Count an item and return it; None, with a line in the list and the log, for an `Unreadable`.

        Raises:
            UnreadableImageError: if too many images cannot be read.
        """
        self.checked += 1
        if not isinstance(item, Unreadable):
            return item
        self.bad += 1
        is_new = self.unreadable.add(item)
        # The number of all images is not known.
        refuse_too_many(Counts(self.bad, self.checked, -1, self.checked), self.max_share, item, (), shard)
        if is_new and (number := len(self.unreadable)) <= MAX_LOGGED:
            print_log(f'{item}; {self.effect}, {number} so far', logger='current', level=logging.WARNING)
        return None
