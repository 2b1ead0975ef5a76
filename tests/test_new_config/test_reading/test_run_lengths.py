"""Run-length encodings, compared with pycocotools' own."""

import numpy as np
import pytest
from lfi.new_config.reading.run_lengths import is_mask_of
from pycocotools import mask as coco_mask


@pytest.mark.parametrize('seed', range(20))
def test_encodings_of_pycocotools_are_masks_of_their_size_alone(seed):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 300, 2).tolist()
    pixels = (random.random((height, width)) < random.choice([0, 0.01, 0.5, 1])).astype(np.uint8)
    encoded = coco_mask.encode(np.asfortranarray(pixels))
    text = encoded['counts'].decode()
    assert is_mask_of({**encoded, 'counts': text}, height, width)
    assert not is_mask_of({**encoded, 'counts': text}, height + 1, width)
    assert not is_mask_of({'size': [height + 1, width], 'counts': text}, height + 1, width)
    runs = np.diff(np.flatnonzero(np.diff(pixels.T.ravel(), prepend=2, append=2))).tolist()
    runs = [0, *runs] if pixels.T.ravel()[0] else runs
    assert is_mask_of({'size': [height, width], 'counts': runs}, height, width)


@pytest.mark.parametrize(
    'counts', ['not a mask', '', '~', 'ä', 'o', 'P' * 20, [3, -1, 4], [1, 2], [6.0], None, b'06']
)
def test_others_are_no_masks(counts):
    assert not is_mask_of({'size': [2, 3], 'counts': counts}, 2, 3)
    assert not is_mask_of({'counts': [6]}, 2, 3)
