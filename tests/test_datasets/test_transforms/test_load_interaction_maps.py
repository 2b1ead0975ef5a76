"""`LoadInteractionMaps`: what a cache holds, read where the images are read."""

import pickle

import numpy as np
import pytest
import torch
from lfi.datasets import LoadInteractionMaps
from lfi.errors import UsageError
from lfi.structures import REST, pack
from lfi.structures.interaction_cache import CacheError, CacheManifest, CacheWriter, InteractionCache, keys_of
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

PATHS = ['/data/a/0.jpg', '/data/a/1.jpg']


@pytest.fixture
def folder(make_maps, tmp_path):
    maps, keys = make_maps(), keys_of(PATHS, 2)
    texts = np.eye(3, dtype=np.float32)
    CacheWriter(tmp_path, CacheManifest.of({}, keys, 2, texts, maps), keys, texts).write(0, pack(maps))
    return str(tmp_path)


def test_it_reads_the_record_of_the_image(folder, make_maps):
    stored = LoadInteractionMaps(folder)(dict(img_path='/elsewhere/a/1.jpg'))['interaction_maps']
    np.testing.assert_array_equal(stored.record, pack(make_maps())[1:])
    assert stored.cache == InteractionCache(folder).digest


def test_it_travels_to_a_worker_without_what_it_has_opened(folder):
    read = LoadInteractionMaps(folder)
    read(dict(img_path=PATHS[0]))
    content = pickle.dumps(read)
    assert len(content) < 1000
    again = pickle.loads(content)(dict(img_path=PATHS[0]))['interaction_maps']
    np.testing.assert_array_equal(again.record, read(dict(img_path=PATHS[0]))['interaction_maps'].record)


def test_without_a_cache_it_reads_nothing():
    assert LoadInteractionMaps()(dict(img_path='a.jpg')) == dict(img_path='a.jpg')


def test_what_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(CacheError, match='has no maps of /data/a/2.jpg'):
        LoadInteractionMaps(folder)(dict(img_path='/data/a/2.jpg'))
    with pytest.raises(CacheError, match='is not a cache of interaction maps'):
        LoadInteractionMaps(tmp_path / 'gone')(dict(img_path=PATHS[0]))


@pytest.mark.parametrize(
    ('labels', 'chosen', 'told'),
    [
        ('known', True, True),
        # Versions that noted nothing hid no label.
        (None, True, True),
        ('hidden', True, False),
        ('known, hidden', True, False),
        ('known', False, False),
    ],
)
def test_a_hidden_label_is_not_read_from_the_choice_of_concepts(make_maps, tmp_path, labels, chosen, told):
    """Also where other tools than ours train, which look at no manifest."""
    concepts = np.array([[1, REST], [0, REST]])
    maps = make_maps(shape=(2, 1, 2, 2, 2), concepts=torch.from_numpy(concepts) if chosen else None)
    keys, texts = keys_of(PATHS, 2), np.eye(3, dtype=np.float32)
    manifest = CacheManifest.of({}, keys, 2, texts, maps, labels)
    CacheWriter(tmp_path, manifest, keys, texts).write(0, pack(maps))
    read = LoadInteractionMaps(str(tmp_path))
    assert 'interaction_maps' in read(dict(img_path=PATHS[0]))
    if told:
        with pytest.raises(UsageError, match=r'/data/a/1\.jpg: its label is hidden by lfi\.FewLabels, and '):
            read(dict(img_path=PATHS[1], unlabelled=True))
    else:
        assert 'interaction_maps' in read(dict(img_path=PATHS[1], unlabelled=True))


MOVES = [dict(type='RandomFlip', prob=1.0), dict(type='RandomCrop', crop_size=(8, 8))]
RECORD = dict(type='lfi.RecordView', transforms=MOVES)
FLIP, LOUD = dict(type='RandomFlip', prob=1.0), dict(type='PhotoMetricDistortion')


def read_after(folder, *steps):
    init_default_scope('mmdet')
    image = np.zeros((16, 12, 3), np.uint8)
    record = dict(img=image, img_shape=(16, 12), ori_shape=(16, 12), img_path=PATHS[1])
    return Compose([*steps, LoadInteractionMaps(folder)])(record)


@pytest.mark.parametrize(
    ('when', 'steps'),
    [
        ('before', [dict(type='mmcv.RandomFlip', prob=1.0), RECORD]),
        ('before', [dict(type='mmpretrain.RandomCrop', crop_size=10), RECORD]),
        ('after', [RECORD, dict(type='mmpretrain.RandomCrop', crop_size=4)]),
        ('after', [RECORD, FLIP]),
        ('after', [RECORD, dict(type='ShearX', prob=1.0)]),
        ('after', [RECORD, dict(type='Pad', size=(32, 32))]),
    ],
)
def test_what_moves_pixels_outside_record_view_is_refused(when, steps, folder):
    with pytest.raises(UsageError, match=f'a.1.jpg: a step {when} lfi.RecordView has changed'):
        read_after(folder, *steps)


@pytest.mark.parametrize(
    'steps', [[LOUD, RECORD, LOUD], [FLIP, RECORD], [RECORD, dict(type='RandomFlip', prob=0.0)], [FLIP]]
)
def test_what_is_recorded_or_moves_nothing_is_read(steps, folder):
    assert 'interaction_maps' in read_after(folder, *steps)


def test_a_step_outside_record_view_passes_without_a_cache():
    assert 'interaction_maps' not in read_after(None, RECORD, FLIP)
