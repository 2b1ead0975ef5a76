"""`lfi.CIFAR10`: mmpretrain's, in BGR."""

import pickle

import lfi.datasets
import mmpretrain.datasets
import numpy as np
import pytest


@pytest.mark.parametrize(('name', 'key'), [('CIFAR10', 'labels'), ('CIFAR100', 'fine_labels')])
def test_it_is_mmpretrains_with_the_channels_turned(name, key, tmp_path, monkeypatch):
    ours, theirs = getattr(lfi.datasets, name), getattr(mmpretrain.datasets, name)
    monkeypatch.setattr(theirs, '_check_integrity', lambda self: True)
    folder = tmp_path / theirs.base_folder
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    for file, _ in theirs.test_list:
        (folder / file).write_bytes(pickle.dumps({'data': pixels, key: [0, 1, 2]}))
    bgr, rgb = (kind(str(tmp_path), 'test', pipeline=[]) for kind in (ours, theirs))
    assert len(bgr) == 3 and bgr.metainfo['classes'] == rgb.metainfo['classes']
    for one, other in zip(bgr, rgb):
        assert np.array_equal(one['img'], other['img'][..., ::-1]) and one['img'].flags.c_contiguous
        assert one['gt_label'] == other['gt_label']
