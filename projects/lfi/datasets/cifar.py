"""CIFAR as the images of files are: in BGR."""

from __future__ import annotations

from typing import Any

import mmpretrain.datasets
import numpy as np

from lfi.registry import DATASETS


@DATASETS.register_module()
class CIFAR10(mmpretrain.datasets.CIFAR10):
    """mmpretrain's CIFAR-10, with the same arguments, and images (32, 32, 3) uint8 in BGR.

    mmpretrain's own has them in RGB, unlike all images of files: a teacher, an export and a photo that a
    student is asked about take images for BGR until `data_preprocessor.to_rgb=True` turns them.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """The data infos, as mmpretrain's own, with `img` in BGR."""
        return _in_bgr(super().load_data_list())


@DATASETS.register_module()
class CIFAR100(mmpretrain.datasets.CIFAR100):
    """mmpretrain's CIFAR-100, in BGR as `CIFAR10` is."""

    def load_data_list(self) -> list[dict[str, Any]]:
        """The data infos, as mmpretrain's own, with `img` in BGR."""
        return _in_bgr(super().load_data_list())


def _in_bgr(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**info, 'img': np.ascontiguousarray(info['img'][..., ::-1])} for info in infos]
