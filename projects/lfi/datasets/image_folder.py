"""`ImageFolder`: all images below a folder, without labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from lfi.errors import UsageError
from lfi.registry import DATASETS
from lfi.structures.labels import UNLABELLED
from lfi.utils.folders import image_names

from .labelled_images import mark_unlabelled

NO_LABEL = -1


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """Unlabelled images of a folder and its subfolders, in any layout.

    Links are followed; a folder that several links lead to is read once. An image is a file with the suffix
    of an image format, in upper or lower case. Images are sorted by their paths below `data_root`. Each data
    info holds `img_path`, `gt_label=-1` and `unlabelled=True`. Samples are marked as unlabelled, so that
    `lfi.SemiSupervisedDataset` can join them with labelled data.

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
        super().__init__(ann_file='', data_root=root, pipeline=pipeline, **kwargs)

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
        names = sorted(image_names(root))
        if not names:
            raise UsageError(
                f'data_root={self.data_root!r} holds no image, nor do its subfolders: set it to the folder '
                f'of your images, files that end in {", ".join(IMG_EXTENSIONS)}'
            )
        return _DataInfos(root, names)

    def prepare_data(self, idx: int) -> dict | None:
        """Run the pipeline on an image and mark the sample as unlabelled."""
        return mark_unlabelled(super().prepare_data(idx))


class _DataInfos(Sequence):
    """Data infos of image files, each built on access: there may be a million."""

    def __init__(self, root: str, names: list[str]) -> None:
        self.root, self.names = root, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _DataInfos(self.root, self.names[index])
        path = os.path.join(self.root, self.names[index])
        return {'img_path': path, 'gt_label': NO_LABEL, UNLABELLED: True}

    def clear(self) -> None:
        """Drop all data infos. mmengine calls this method after serializing the data infos."""
        self.names = []
