"""Paths of the images of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from lfi.errors import UsageError
from lfi.structures.interaction_cache import name_parts

from .image_folder import ImageFolder
from .labelled_images import has_label, raw_info


def distinguishing_parts(dataset: Any, paths: Sequence[str]) -> int:
    """Return a number of last path parts that make the images of a data set unique; at least 2.

    Args:
        dataset: data set of OpenMMLab, possibly a wrapper.
        paths: paths of its images, from `distinct_images`.
    """
    if isinstance(dataset, ImageFolder) and dataset.depth is not None:
        # The paths below the folder differ, and have as many parts.
        return max(2, dataset.depth)
    return name_parts(paths)


def distinct_images(dataset: Any) -> tuple[Sequence[str], Sequence[int]]:
    """Return the paths of a data set's images, each once, and an index of each in the data set.

    Of an image that comes with and without a label, the index is that of the labelled one. The paths of an
    `ImageFolder` are joined on access: it may have a hundred million.

    Args:
        dataset: data set of OpenMMLab, possibly a wrapper.

    Raises:
        UsageError: if a data info has no path.
    """
    if isinstance(dataset, ImageFolder):
        return dataset.paths, range(len(dataset))
    indices: dict[str, int] = {}
    labelled = set[str]()
    for index in range(len(dataset)):
        info = raw_info(dataset, index)
        if 'img_path' not in info:
            raise UsageError('the data set has no img_path, and a cache identifies images by their paths')
        path = os.fspath(info['img_path'])
        if path not in indices or (has_label(info) and path not in labelled):
            indices[path] = index
        if has_label(info):
            labelled.add(path)
    return list(indices), list(indices.values())
