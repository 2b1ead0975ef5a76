"""Handling of unreadable images in data sets of any class."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.logging import print_log

from lfi.utils.arrays import SharedArray

from .images import (
    DroppedImageError,
    Unreadable,
    UnreadableImageError,
    data_info,
    find_cause_of_failure,
    find_undecodable_image,
)
from .limit import MAX_EXAMPLES, MAX_LOGGED, Counts, UnreadableList, refuse_too_many

UNKNOWN, GOOD, BAD = 0, 1, 2
# Attributes of wrappers and concatenations that hold the inner data sets.
INNER_ATTRIBUTES = ('dataset', 'datasets', '_dataset', '_datasets')


def replace_unreadable(dataset: Any, max_share: float, unreadable: UnreadableList) -> None:
    """Make a training set draw another image at random in place of an unreadable one.

    Reading raises an `UnreadableImageError` once more than `max_share` of the images are unreadable.

    Args:
        dataset: data set of mmengine, or a wrapper or concatenation; changed in place, before workers start.
        max_share: largest share of unreadable images, for `refuse_too_many`.
        unreadable: list that unreadable images are added to.
    """
    if hasattr(dataset, 'watch_unreadable'):
        # A stream leaves them out itself.
        dataset.watch_unreadable(max_share, unreadable)
    for leaf in _leaf_datasets(dataset):
        leaf.prepare_data = _ReplacingReader(leaf, max_share, unreadable)


def refuse_unreadable(dataset: Any) -> None:
    """Make a data set raise an `UnreadableImageError` for an unreadable image.

    Args:
        dataset: data set of mmengine, or a wrapper or concatenation; changed in place.
    """
    for leaf in _leaf_datasets(dataset):
        leaf.prepare_data = _RefusingReader(leaf)


def refuse_all_unreadable(dataset: Any, unreadable: UnreadableList) -> None:
    """Make a data set check all images after its first unreadable one, and raise one error about all.

    Args:
        dataset: data set of mmengine, or a wrapper or concatenation; changed in place. Each inner data set
            checks its own images.
        unreadable: list that unreadable images are added to.
    """
    for leaf in _leaf_datasets(dataset):
        leaf.prepare_data = _ListingReader(leaf, unreadable)


class _Reader:
    """Replacement of a data set's `prepare_data`, which mmengine calls for an item.

    A reader is stored in the data set, so that spawned workers have it too. It uses the data set's current
    pipeline, which hooks may replace. Each file is decoded once before the pipeline reads it. The result of
    this check is shared with forked workers.

    Args:
        dataset: data set that reads images.
    """

    def __init__(self, dataset: Any) -> None:
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        self.dataset = dataset
        # Allocated before workers are forked, so that all of them share it.
        self.states = SharedArray(len(dataset), np.uint8)

    def __call__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            # The index of a frame in a video, whose info names many files.
            return type(self.dataset).prepare_data(self.dataset, index)
        if self.states.length != len(self.dataset):
            # The data set was reduced to a subset.
            self.states = SharedArray(len(self.dataset), np.uint8)
        return self.get_item(int(index))

    def get_item(self, index: int) -> Any:
        """Return an item, and handle an unreadable image."""
        raise NotImplementedError

    def try_read(self, index: int) -> Any:
        """Return an item of the data set, or an `Unreadable` if one of its files is unreadable."""
        pipeline, states = self.dataset.pipeline, self.states.array
        unreadable = (
            None
            if states[index] == GOOD
            else find_undecodable_image(data_info(self.dataset, index), pipeline)
        )
        if unreadable is None:
            states[index] = GOOD
            try:
                return type(self.dataset).prepare_data(self.dataset, index)
            except Exception:
                unreadable = find_cause_of_failure(data_info(self.dataset, index), pipeline)
                if unreadable is None:
                    raise
        states[index] = BAD
        return unreadable


class _RefusingReader(_Reader):
    """Reader that raises an error for an unreadable image."""

    def get_item(self, index: int) -> Any:
        """Return an item, or raise an `UnreadableImageError`.

        Raises:
            DroppedImageError: if a step returns None. MMEngine would draw another image at random.
        """
        item = self.try_read(index)
        if item is None:
            image = Unreadable(
                str(data_info(self.dataset, index).get('img_path')), 'a step of its pipeline returns None'
            )
            raise DroppedImageError(f'{image}: remove the step, or the image', image)
        if isinstance(item, Unreadable):
            raise UnreadableImageError(
                f'{item}{self.describe_others(index, item)}. Replace the file, or delete it and its '
                'annotation: in validation and test no image is left out, since that would change the metric',
                item,
            )
        return item

    def describe_others(self, index: int, item: Unreadable) -> str:
        """Return the error's text about further unreadable images."""
        return ''


class _ListingReader(_RefusingReader):
    """Reader that also counts and lists all other unreadable images in its error."""

    def __init__(self, dataset: Any, unreadable: UnreadableList) -> None:
        super().__init__(dataset)
        self.unreadable = unreadable

    def describe_others(self, index: int, item: Unreadable) -> str:
        """Return the number of further unreadable images, some paths, and the path of the list."""
        unchecked = [i for i in np.flatnonzero(self.states.array != GOOD).tolist() if i != index]
        print_log(f'{item}; checking {len(unchecked)} others', logger='current', level=logging.WARNING)
        others = [result for i in unchecked if isinstance(result := self.try_read(i), Unreadable)]
        for image in (item, *others):
            self.unreadable.add(image)
        if not others:
            return ''
        examples = ', '.join(image.path for image in others[:MAX_EXAMPLES])
        return f'; nor can {len(others)} more, among them {examples}: {self.unreadable.path} lists all'


class _ReplacingReader(_Reader):
    """Reader that draws another image for an unreadable one, unless too many are unreadable."""

    def __init__(self, dataset: Any, max_share: float, unreadable: UnreadableList) -> None:
        super().__init__(dataset)
        self.max_share, self.unreadable = max_share, unreadable

    def get_item(self, index: int) -> Any:
        """Return an item, or another item if its image is unreadable."""
        was_bad = self.states.array[index] == BAD
        while isinstance(item := self.try_read(index), Unreadable):
            is_new = not was_bad and self.unreadable.add(item)
            self._refuse_too_many(item)
            if is_new and (count := len(self.unreadable)) <= MAX_LOGGED:
                print_log(f'{item}; left out, {count} so far', logger='current', level=logging.WARNING)
            # mmengine draws another index in the same way.
            index = np.random.randint(0, len(self.dataset))  # noqa: NPY002
            was_bad = self.states.array[index] == BAD
        return item

    def _refuse_too_many(self, latest: Unreadable) -> None:
        states = self.states.array
        bad, checked = np.flatnonzero(states == BAD), int((states != UNKNOWN).sum())
        examples = [str(data_info(self.dataset, i).get('img_path')) for i in bad[:MAX_EXAMPLES].tolist()]
        name = getattr(self.dataset, 'data_root', None) or type(self.dataset).__name__
        counts = Counts(len(bad), checked, len(states), denominator=checked)
        refuse_too_many(counts, self.max_share, latest, examples, name)


def _leaf_datasets(dataset: Any) -> Iterator[Any]:
    """Iterate over the data sets that read images, inside wrappers and concatenations."""
    if hasattr(type(dataset), 'prepare_data'):
        yield dataset
        return
    # Not getattr: a wrapper may forward the attributes of its inner data set.
    attributes = getattr(dataset, '__dict__', {})
    for inner in (attributes[name] for name in INNER_ATTRIBUTES if name in attributes):
        for part in inner if isinstance(inner, list | tuple) else [inner]:
            yield from _leaf_datasets(part)
