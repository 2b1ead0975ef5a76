"""Where people looked."""

from __future__ import annotations

from pathlib import Path, PurePath

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from lfi.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadHeatMap(BaseTransform):
    """Reads where people looked for an image's class, for `lfi.SemanticConsistencyMetric`.

    A heat map is a grey picture of the complete image, of any size, brighter where they looked more. Its file
    is called as the image is, in folders like the image's own or in none. Put this before `lfi.LoadRegions`.
    It sets `heat_maps`: for `gt_label` a (H, W) float32 array in [0, 1]; empty for an image without a file,
    or with a map that is black.

    Args:
        data_root: the folder of the heat maps.
        suffix: of their files. Defaults to '.png'.

    Raises:
        FileNotFoundError: if there is no such folder.
    """

    def __init__(self, data_root: str | Path, suffix: str = '.png') -> None:
        self.data_root, self.suffix = Path(data_root), suffix
        if not self.data_root.is_dir():
            raise FileNotFoundError(f'data_root={str(data_root)!r} is not a folder of heat maps')

    def transform(self, results: dict) -> dict:
        """Set `heat_maps`."""
        # `..` would lead out of the folder.
        whole = PurePath(results['img_path'].lstrip('/')).with_suffix(self.suffix)
        parts = [part for part in whole.parts if part != '..']
        # Folders of one data set may hold the same names: as many of them as there are must fit.
        paths = (self.data_root.joinpath(*parts[i:]) for i in range(len(parts)))
        path = next((path for path in paths if path.is_file()), None)
        results['heat_maps'] = {}
        label = int(results['gt_label'])
        # A hidden label is below 0.
        if path is not None and label >= 0:
            heat = _read(path)
            if heat.any():
                results['heat_maps'] = {label: heat}
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(data_root={str(self.data_root)!r}, suffix={self.suffix!r})'


def _read(path: Path) -> np.ndarray:
    """A grey image, (H, W) float32 in [0, 1]; an OSError that names the file if it is none."""
    try:
        # With 16 bits where the file has them.
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    # OpenCV's own error for an empty file.
    except cv2.error:
        pixels = None
    if pixels is None:
        raise OSError(f'{path}: this heat map cannot be read')
    most = {'uint8': 255, 'uint16': 65535}.get(str(pixels.dtype), 1)
    return pixels.astype(np.float32) / most
