"""Run-length encoded masks of COCO, checked without decoding them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def is_mask_of(encoded: Mapping[str, Any], height: int, width: int) -> bool:
    """Whether a run-length encoding covers the pixels of an image, each once.

    pycocotools decodes another one without an error, to a wrong mask.

    Args:
        encoded: `size` (height, width), and `counts`, the lengths of the runs as a list or in pycocotools'
            text form.
        height: height of the image in pixels.
        width: width of the image in pixels.
    """
    counts, size = encoded.get('counts'), encoded.get('size')
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return False
    if isinstance(counts, str):
        counts = _lengths(counts)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        return False
    return sum(counts) == height * width


def _lengths(text: str) -> list[int] | None:
    """Return the run lengths of pycocotools' text form (`rleFrString` in its C code), or None."""
    if not text or not text.isascii():
        return None
    # A character has 5 bits of a number, the lowest first, and whether more follow.
    codes = np.frombuffer(text.encode('ascii'), np.uint8).astype(np.int64) - 48
    ends = codes & 32 == 0
    if codes.min() < 0 or codes.max() > 63 or not ends[-1]:
        return None
    starts = np.flatnonzero(np.concatenate([[True], ends[:-1]]))
    lengths = np.diff(np.append(starts, len(codes)))
    if lengths.max() > 12:
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    # The last character has the sign.
    numbers -= ((codes[ends] & 16) > 0).astype(np.int64) << (5 * lengths)
    # From the fourth on, a number is the difference from the last but one.
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    counts: list[int] = numbers.tolist()
    return counts
