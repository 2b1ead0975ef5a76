"""Seeded draws of the views that a cache records, so that training can draw a recorded view again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TypeVar

import cv2
import numpy as np
import torch

from lfi.datasets.labelled_images import has_label
from lfi.structures.interaction_cache import image_keys

T = TypeVar('T')

VIEW_INDEX = 'view_index'
"""Key under which `results` holds the index of the recorded view that `RecordView` has drawn again."""
COLOURS = 'view_colours'
"""Key under which `results` holds the colours of a drawn view, from `colours_of`."""
_requested_seed: int | None = None


def colours_of(image: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation of the three channels of an image (h, w, 3) in [0, 255], (6,) uint8.

    They tell whether training draws the picture that the teacher saw, also with another decoder of images.
    """
    # A grey image has one channel, and one with transparency has four.
    moments = [np.broadcast_to(moment.ravel()[:3], 3) for moment in cv2.meanStdDev(image)]
    return np.concatenate(moments).round().clip(0, 255).astype(np.uint8)


def cache_of(results: dict, cache: T, labelled_cache: T | None) -> T:
    """Return the cache that has the views of an image: that of the labelled images, if it is one of them."""
    return cache if labelled_cache is None or not has_label(results) else labelled_cache


def view_seed(path: str, name_parts: int, view: int) -> int:
    """Return the seed of a recorded view of an image, in [0, 2^32).

    Args:
        path: path of the image.
        name_parts: number of last path parts that identify the image in the cache.
        view: index of the view.
    """
    key = int(image_keys([path], name_parts)[0])
    content = key.to_bytes(8, 'little') + view.to_bytes(4, 'little')
    return int.from_bytes(blake2b(content, digest_size=4).digest(), 'little')


def requested_seed() -> int | None:
    """Return the seed of the view that the caller has requested by `requesting_seed`, or None."""
    return _requested_seed


@contextmanager
def requesting_seed(seed: int) -> Iterator[None]:
    """Make each `RecordView` in this process draw the view of a seed."""
    global _requested_seed
    _requested_seed = seed
    try:
        yield
    finally:
        _requested_seed = None


@contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    """Seed Python, numpy and torch on the CPU, and restore their states afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    # `torch.manual_seed` would seed GPUs, too, whose states are not restored.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
