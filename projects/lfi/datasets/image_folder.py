"""`ImageFolder`: all images below a folder, without labels."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from lfi.errors import UsageError
from lfi.registry import DATASETS
from lfi.structures.labels import UNLABELLED
from lfi.utils.folders import images_by_folder

from .labelled_images import mark_unlabelled

NO_LABEL = -1


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """Unlabelled images of a folder and its subfolders, in any layout.

    Links are followed; a folder that several links lead to is read once. An image is a file with the suffix
    of an image format, in upper or lower case. The images of a folder come before those of its subfolders,
    all sorted by name. Each data info holds `img_path`, `gt_label=-1` and `unlabelled=True`. Samples are
    marked as unlabelled, so that `lfi.SemiSupervisedDataset` can join them with labelled data.

    Args:
        data_root: Folder of the images.
        pipeline: Transforms. A type without a scope is mmpretrain's. Defaults to ().
        **kwargs: Arguments of `mmpretrain.datasets.BaseDataset`: `indices`, `test_mode`, `lazy_init`, ...

    Raises:
        UsageError: If `data_root` is no folder or holds no image.
        OSError: If a subfolder cannot be listed.
    """

    def __init__(self, data_root: str | Path, pipeline: Sequence = (), **kwargs: Any) -> None:
        root = str(Path(data_root).expanduser())
        # The data infos are compact already.
        kwargs['serialize_data'] = False
        super().__init__(ann_file='', data_root=root, pipeline=pipeline, **kwargs)

    @property
    def paths(self) -> Sequence[str]:
        """Paths of all images."""
        self.full_init()
        if isinstance(self.data_list, _DataInfos):
            return _Paths(self.data_list)
        # The data set keeps a list of chosen images only, as after `indices=[...]`.
        return [info['img_path'] for info in self.data_list]

    @property
    def depth(self) -> int | None:
        """Number of path parts of each image below `data_root`; None if images differ in it."""
        self.full_init()
        return self.data_list.depth if isinstance(self.data_list, _DataInfos) else None

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the labelled images, (N,) bool, all False."""
        return np.zeros(len(self), bool)

    def load_data_list(self) -> Sequence[dict]:
        """Return one data info for each image."""
        if not os.path.isdir(self.data_root):
            raise UsageError(
                f'data_root={self.data_root!r} is not a folder: set it to the folder of your images'
            )
        # A cache identifies images by the last parts of their paths, and '.' has none.
        root = os.path.abspath(self.data_root)
        infos = _DataInfos(root, images_by_folder(root))
        if not infos:
            raise UsageError(
                f'data_root={self.data_root!r} holds no image, nor do its subfolders: set it to the folder '
                f'of your images, files that end in {", ".join(IMG_EXTENSIONS)}'
            )
        return infos

    def prepare_data(self, idx: int) -> dict | None:
        """Run the pipeline on an image and mark the sample as unlabelled."""
        return mark_unlabelled(super().prepare_data(idx))


class _DataInfos(Sequence):
    """Data infos of image files, each built on access: there may be a hundred million.

    Args:
        root: absolute path of the folder.
        folders: path prefix of each folder below `root`, with the names of the images in it.
    """

    def __init__(self, root: str, folders: Iterable[tuple[str, list[str]]]) -> None:
        prefixes, names, counts, depths = [], [], [], set()
        for prefix, images in folders:
            prefixes.append(prefix)
            names.append('\0'.join(images))
            counts.append(len(images))
            depths.add(prefix.count(os.sep) + 1)
        self.root, self.depth = root, depths.pop() if len(depths) == 1 else None
        self._prefixes, self._names = _PackedStrings(prefixes), _PackedStrings(names)
        self._folder_ends = np.cumsum(counts)
        self._rows: Sequence[int] = range(sum(counts))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            part = copy.copy(self)
            part._rows = self._rows[index]
            return part
        return {'img_path': self.path(index), 'gt_label': NO_LABEL, UNLABELLED: True}

    def path(self, index: int) -> str:
        """Return the path of an image."""
        row = self._rows[index]
        folder = int(np.searchsorted(self._folder_ends, row, side='right'))
        return os.path.join(self.root, self._prefixes[folder] + self._names[row])


class _PackedStrings:
    """Strings in one array of bytes.

    A list of strings would be copied into each data worker, page by page, as their reference counts change.

    Args:
        strings: strings, or several in one, joined by null characters, which no path holds.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._content = os.fsencode('\0'.join((*strings, '')))
        self._ends = np.flatnonzero(np.frombuffer(self._content, np.uint8) == 0)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] + 1 if index else 0
        return os.fsdecode(self._content[start : self._ends[index]])


class _Paths(Sequence):
    """Paths of the images of a `_DataInfos`, each joined on access."""

    def __init__(self, infos: _DataInfos) -> None:
        self._infos = infos

    def __len__(self) -> int:
        return len(self._infos)

    def __getitem__(self, index: Any) -> Any:
        return _Paths(self._infos[index]) if isinstance(index, slice) else self._infos.path(index)
