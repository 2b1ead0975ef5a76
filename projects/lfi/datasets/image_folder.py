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
    """All images below a folder, in any layout, none of which has a label.

    Folders may lie in one another, and links are followed; a folder that several links lead to is read once.
    An image is a file whose name ends as an image's does, in upper or lower case. The order is that of the
    paths below `data_root`. Each data info holds `img_path`, `gt_label=-1` and `unlabelled=True`; samples are
    marked as those of `lfi.FewLabels` are. So it serves beside labelled data, in `lfi.SemiSupervisedDataset`.

    Args:
        data_root: The folder.
        pipeline: Transforms, of mmpretrain unless they name a scope.
        **kwargs: Those of `mmpretrain.datasets.BaseDataset`: `indices`, `test_mode`, `lazy_init`, ...

    Raises:
        UsageError: When there is no such folder, or no image below it.
        OSError: When a folder below it cannot be listed.
    """

    def __init__(self, data_root: str | Path, pipeline: Sequence = (), **kwargs: Any) -> None:
        root = str(Path(data_root).expanduser())
        super().__init__(ann_file='', data_root=root, pipeline=pipeline, **kwargs)

    @property
    def labelled(self) -> np.ndarray:
        """Which images have a label, (N,) bool: none."""
        return np.zeros(len(self), bool)

    def load_data_list(self) -> Sequence[dict]:
        """One data info an image."""
        if not os.path.isdir(self.data_root):
            raise UsageError(
                f'data_root={self.data_root!r} is not a folder: set it to the folder of your images'
            )
        # A cache knows images by the last parts of their paths, of which '.' would be none.
        root = os.path.abspath(self.data_root)
        names = sorted(image_names(root))
        if not names:
            raise UsageError(
                f'data_root={self.data_root!r} has no image, in it or in the folders below it: set it to the '
                f'folder of your images, files that end in {", ".join(IMG_EXTENSIONS)}'
            )
        return _DataInfos(root, names)

    def prepare_data(self, idx: int) -> dict | None:
        """Run the pipeline on an image, and mark its sample as one without a label."""
        return mark_unlabelled(super().prepare_data(idx))


class _DataInfos(Sequence):
    """The data infos of files, each made when it is asked for: there may be a million."""

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
        """Forget all; mmengine does when it has packed them."""
        self.names = []
