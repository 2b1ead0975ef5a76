"""Data sets that know what to do about images that cannot be read, whatever their class."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.logging import print_log

from lfi.utils.arrays import SharedArray

from .images import Unreadable, UnreadableImageError, damaged, find_unreadable, info_of
from .limit import EXAMPLES, NAMED, Counts, UnreadableList, refuse_too_many

UNKNOWN, GOOD, BAD = 0, 1, 2
# What a data set keeps the data sets in that it wraps or joins.
INSIDE = ('dataset', 'datasets', '_dataset', '_datasets')


def leave_out_unreadable(dataset: Any, max_share: float, found: UnreadableList) -> None:
    """Let a training's data set draw another image at random in the place of one that cannot be read.

    Args:
        dataset: of mmengine, or any that wraps or joins such; changed in place, before workers begin.
        max_share: the share of its images that may be unreadable, as `refuse_too_many` has it, which an item
            raises as an error.
        found: lists those that are found.
    """
    for leaf in _leaves(dataset):
        leaf.prepare_data = _LeavingOut(leaf, max_share, found)


def refuse_unreadable(dataset: Any) -> None:
    """Let a data set raise an `UnreadableImageError` for an image that cannot be read.

    Args:
        dataset: as `leave_out_unreadable`.
    """
    for leaf in _leaves(dataset):
        leaf.prepare_data = _Refusing(leaf)


def refuse_all_unreadable(dataset: Any, found: UnreadableList) -> None:
    """Let a data set look at all its images where one cannot be read, and then raise one error about all.

    Args:
        dataset: as `leave_out_unreadable`. Each data set inside looks at its own.
        found: lists those that are found.
    """
    for leaf in _leaves(dataset):
        leaf.prepare_data = _RefusingAll(leaf, found)


class _Reader:
    """Stands in for a data set's `prepare_data`, which mmengine calls for an item.

    An attribute of the data set, so that workers that are spawned have it too, and pipelines that hooks
    set later are read by it. Each file is decoded once more, before the pipeline first sees it; what is
    known of it is shared with forked workers.

    Args:
        dataset: the one that reads images.
    """

    def __init__(self, dataset: Any) -> None:
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        self.dataset = dataset
        # Made before any worker is forked, so that all of them share it.
        self.states = SharedArray(len(dataset), np.uint8)

    def __call__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            # A frame of a video, whose info names many files.
            return type(self.dataset).prepare_data(self.dataset, index)
        if self.states.length != len(self.dataset):
            # A subset of its own was taken.
            self.states = SharedArray(len(self.dataset), np.uint8)
        return self.take(int(index))

    def take(self, index: int) -> Any:
        """An item, whatever is done about what cannot be read."""
        raise NotImplementedError

    def read(self, index: int) -> Any:
        """What the data set makes of an item; an `Unreadable` where a file of it is."""
        pipeline, states = self.dataset.pipeline, self.states.array
        unread = None if states[index] == GOOD else damaged(info_of(self.dataset, index), pipeline)
        if unread is None:
            states[index] = GOOD
            try:
                return type(self.dataset).prepare_data(self.dataset, index)
            except Exception:
                unread = find_unreadable(info_of(self.dataset, index), pipeline)
                if unread is None:
                    raise
        states[index] = BAD
        return unread


class _Refusing(_Reader):
    """Raises an error for an image that cannot be read."""

    def take(self, index: int) -> Any:
        """The item, if its image can be read."""
        item = self.read(index)
        if isinstance(item, Unreadable):
            raise UnreadableImageError(
                f'{item}{self.others(index, item)}. Replace the file, or delete it, from the annotations '
                'too: in validation and test no image is left out, for that would change the metric',
                item,
            )
        return item

    def others(self, index: int, item: Unreadable) -> str:
        """What the error says of other images than the one that was asked for."""
        return ''


class _RefusingAll(_Refusing):
    """Names, counts and lists the other images that cannot be read, too."""

    def __init__(self, dataset: Any, found: UnreadableList) -> None:
        super().__init__(dataset)
        self.found = found

    def others(self, index: int, item: Unreadable) -> str:
        """How many there are, some of them, and what lists them."""
        unread = [other for other in np.flatnonzero(self.states.array != GOOD).tolist() if other != index]
        print_log(f'{item}; looking at {len(unread)} others', logger='current', level=logging.WARNING)
        bad = [each for other in unread if isinstance(each := self.read(other), Unreadable)]
        for each in (item, *bad):
            self.found.add(each)
        if not bad:
            return ''
        some = ', '.join(other.path for other in bad[:EXAMPLES])
        return f'; nor can {len(bad)} more, among them {some}: {self.found.path} lists all'


class _LeavingOut(_Reader):
    """Draws another image for one that cannot be read, unless these are too many."""

    def __init__(self, dataset: Any, max_share: float, found: UnreadableList) -> None:
        super().__init__(dataset)
        self.max_share, self.found = max_share, found

    def take(self, index: int) -> Any:
        """The item, or another."""
        known = self.states.array[index] == BAD
        while isinstance(item := self.read(index), Unreadable):
            is_new = not known and self.found.add(item)
            self._refuse_too_many(item)
            if is_new and (count := len(self.found)) <= NAMED:
                print_log(f'{item}; left out, {count} so far', logger='current', level=logging.WARNING)
            # As mmengine draws another.
            index = np.random.randint(0, len(self.dataset))  # noqa: NPY002
            known = self.states.array[index] == BAD
        return item

    def _refuse_too_many(self, latest: Unreadable) -> None:
        states = self.states.array
        bad, seen = np.flatnonzero(states == BAD), int((states != UNKNOWN).sum())
        others = [str(info_of(self.dataset, i).get('img_path')) for i in bad[:EXAMPLES].tolist()]
        name = getattr(self.dataset, 'data_root', None) or type(self.dataset).__name__
        counts = Counts(len(bad), seen, len(states), share_of=seen)
        refuse_too_many(counts, self.max_share, latest, others, name)


def _leaves(dataset: Any) -> Iterator[Any]:
    """The data sets that read images, inside those that wrap or join others."""
    if hasattr(type(dataset), 'prepare_data'):
        yield dataset
        return
    # A wrapper may hand on the attributes of what it wraps.
    own = getattr(dataset, '__dict__', {})
    for inner in (own[name] for name in INSIDE if name in own):
        for part in inner if isinstance(inner, list | tuple) else [inner]:
            yield from _leaves(part)
