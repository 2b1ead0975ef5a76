"""CIFAR-10 and CIFAR-100 with images in BGR, the order in which image files are loaded."""

from __future__ import annotations

from typing import Any

import mmpretrain.datasets
import numpy as np

from lfi.registry import DATASETS


@DATASETS.register_module()
class CIFAR10(mmpretrain.datasets.CIFAR10):
    """mmpretrain's CIFAR-10 with images (32, 32, 3) uint8 in BGR. It takes the same arguments.

    mmpretrain's data set has RGB images, but image files are loaded in BGR. Teachers, exports and students
    expect BGR images, which `data_preprocessor.to_rgb=True` converts to RGB.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return mmpretrain's data infos with `img` in BGR."""
        return _to_bgr(super().load_data_list())


@DATASETS.register_module()
class CIFAR100(mmpretrain.datasets.CIFAR100):
    """mmpretrain's CIFAR-100 with images (32, 32, 3) uint8 in BGR. It takes the same arguments."""

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return mmpretrain's data infos with `img` in BGR."""
        return _to_bgr(super().load_data_list())


def _to_bgr(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**info, 'img': np.ascontiguousarray(info['img'][..., ::-1])} for info in infos]
