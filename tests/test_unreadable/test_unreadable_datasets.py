"""Data sets of mmengine, mmpretrain and mmdet that leave out, or refuse, what cannot be read."""

import copy
import json
import pickle
import re

import lfi  # noqa: F401
import numpy as np
import pytest
from lfi.datasets import FewLabels, SemiSupervisedDataset
from lfi.unreadable import (
    UnreadableImageError,
    UnreadableList,
    refuse_all_unreadable,
    refuse_unreadable,
    replace_unreadable,
)
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS
from mmpretrain.datasets import CustomDataset
from picture_files import write_noise
from torch.utils.data import DataLoader

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
CLASSES = ('cat', 'dog')
BAD = ('cat/1.jpg', 'cat/3.jpg', 'dog/0.jpg')


@pytest.fixture
def photos(tmp_path, mmpretrain_scope):
    """Ten pictures of two classes; three of them are empty, no image, and gone by the time of training."""
    folder = tmp_path / 'photos'
    for label, name in enumerate(CLASSES):
        for i in range(5):
            write_noise(folder / name / f'{i}.jpg', 10 * label + i)
    return folder


@pytest.fixture
def spoil(photos):
    def make():
        empty, text, gone = (photos / name for name in BAD)
        empty.write_bytes(b'')
        text.write_text('no image')
        gone.unlink()

    return make


@pytest.fixture
def found(tmp_path):
    return UnreadableList(tmp_path / 'work')


def custom(photos, **arguments):
    return CustomDataset(data_root=str(photos), pipeline=PIPELINE, **arguments)


def paths(items):
    return ['/'.join(item['data_samples'].img_path.split('/')[-2:]) for item in items]


def coco(photos):
    names = sorted('/'.join(path.parts[-2:]) for path in photos.rglob('*.jpg'))
    content = dict(
        images=[dict(id=i, file_name=name, height=64, width=64) for i, name in enumerate(names)],
        annotations=[
            dict(id=i, image_id=i, category_id=1, bbox=[2, 2, 30, 30], area=900, iscrowd=0)
            for i in range(len(names))
        ],
        categories=[dict(id=1, name='thing')],
    )
    (photos / 'coco.json').write_text(json.dumps(content))
    return DATASETS.build(
        dict(
            _scope_='mmdet',
            type='CocoDataset',
            data_root=str(photos),
            ann_file='coco.json',
            data_prefix=dict(img=''),
            metainfo=dict(classes=('thing',)),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='PackDetInputs'),
            ],
        )
    )


KINDS = {
    'custom': custom,
    'unserialized': lambda photos: custom(photos, serialize_data=False),
    'test mode': lambda photos: custom(photos, test_mode=True),
    'subset': lambda photos: custom(photos, indices=[1, 2, 3, 4, 5, 6]),
    'concat': lambda photos: ConcatDataset([custom(photos), custom(photos)]),
    'repeat': lambda photos: RepeatDataset(custom(photos), 2),
    'balanced': lambda photos: ClassBalancedDataset(custom(photos), 0.8),
    'few labels': lambda photos: FewLabels(custom(photos), labels_per_class=1),
    'coco': coco,
    'coco and a folder': lambda photos: SemiSupervisedDataset(
        [coco(photos), dict(type='lfi.ImageFolder', data_root=str(photos), pipeline=PIPELINE)]
    ),
}


@pytest.mark.parametrize('kind', KINDS)
def test_any_data_set_leaves_out_names_once_and_lists(photos, spoil, found, warnings, kind):
    data = KINDS[kind](photos)
    spoil()
    replace_unreadable(data, 0.5, found)
    for _ in range(2):
        items = [data[i] for i in range(len(data))]
        assert len(items) == len(data) and not {*BAD} & {*paths(items)}
    assert len(found) == len(warnings) == 3
    assert all(sum(name in warning for warning in warnings) == 1 for name in BAD)
    assert warnings[-1].endswith('left out, 3 so far')


@pytest.mark.parametrize('kind', KINDS)
def test_sound_data_are_read_as_ever(photos, found, kind):
    plain, watched = KINDS[kind](photos), KINDS[kind](photos)
    replace_unreadable(watched, 0.1, found)
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for i in range(len(plain)):
        ours, theirs = watched[i], plain[i]
        assert paths([ours]) == paths([theirs]) and ours['inputs'].equal(theirs['inputs'])
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert not found


@pytest.mark.parametrize('kind', KINDS)
def test_where_nothing_is_left_out_the_image_is_named(photos, spoil, kind):
    data = KINDS[kind](photos)
    spoil()
    refuse_unreadable(data)
    index = next(i for i in range(len(data)) if data.get_data_info(i)['img_path'].endswith('cat/1.jpg'))
    with pytest.raises(UnreadableImageError, match=r'cat/1\.jpg: .*the file is empty.* no image is left out'):
        data[index]


@pytest.mark.parametrize('kind', KINDS)
def test_all_that_cannot_be_read_are_named_and_listed_at_the_first(photos, spoil, found, warnings, kind):
    data = KINDS[kind](photos)
    spoil()
    refuse_all_unreadable(data, found)
    index = next(i for i in range(len(data)) if data.get_data_info(i)['img_path'].endswith('cat/1.jpg'))
    with pytest.raises(UnreadableImageError, match=r'cat/1\.jpg: .*no image is left out') as error:
        data[index]
    named = re.search(r'; nor can 2 more, among them (\S+), (\S+): (\S+) lists all', str(error.value))
    assert {'/'.join(path.split('/')[-2:]) for path in named.groups()[:2]} == {*BAD[1:]}
    assert named[3] == str(found.path) and len(found) == 3
    (warning,) = warnings
    assert re.search('cat/1.jpg: .*; checking [0-9]+ others$', warning)


def test_one_alone_that_cannot_be_read_is_alone(photos, found):
    data = custom(photos)
    (photos / BAD[0]).write_bytes(b'')
    refuse_all_unreadable(data, found)
    with pytest.raises(UnreadableImageError, match=r'cat/1\.jpg: .*empty\)\. Replace .* no image is left'):
        [data[i] for i in range(10)]
    assert len(found) == 1


def test_workers_count_together(photos, spoil, found, warnings):
    data = custom(photos)
    spoil()
    replace_unreadable(data, 0.5, found)
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=list, multiprocessing_context='fork')
    for _ in range(2):
        assert sum(len(batch) for batch in loader) == 10
    assert len(found) == 3


def test_none_that_can_be_read_is_an_error(photos, found):
    data = custom(photos)
    replace_unreadable(data, 1, found)
    for path in photos.rglob('*.jpg'):
        path.unlink()
    with pytest.raises(UnreadableImageError, match=r'photos/?: none of the 10 images can be read'):
        data[0]
    assert len(found) == 10


def test_the_first_is_an_error_where_none_may_be_left_out(photos, spoil, found):
    data = custom(photos)
    spoil()
    replace_unreadable(data, 0, found)
    with pytest.raises(UnreadableImageError, match=r'cat/1\.jpg: .*max_unreadable=0 allows none'):
        [data[i] for i in range(10)]


def test_a_bug_stops_with_its_own_words(photos, spoil, found):
    data = custom(photos)
    spoil()
    replace_unreadable(data, 0.5, found)
    data.pipeline.transforms.insert(1, lambda results: results['misspelt'])
    with pytest.raises(KeyError, match='misspelt'):
        data[0]


def test_a_file_that_vanishes_later_is_left_out_too(photos, found):
    data = custom(photos)
    replace_unreadable(data, 0.5, found)
    assert paths([data[0]]) == ['cat/0.jpg']
    (photos / 'cat/0.jpg').unlink()
    assert paths([data[0]]) != ['cat/0.jpg'] and len(found) == 1


def test_a_pipeline_that_a_hook_sets_is_read_as_well(photos, spoil, found):
    data = custom(photos)
    spoil()
    replace_unreadable(data, 0.5, found)
    data.pipeline = custom(photos).pipeline
    assert not {*BAD} & {*paths([data[1]])} and 'cat/1.jpg' in found.path.read_text()


def test_a_frame_of_a_video_is_left_to_its_data_set(photos, found):
    class Video(CustomDataset):
        def prepare_data(self, idx):
            return idx

    data = Video(data_root=str(photos), pipeline=PIPELINE)
    replace_unreadable(data, 0.1, found)
    assert data[1, 7] == (1, 7)


def test_copies_and_subsets_know_their_own(photos, spoil, found):
    data = custom(photos)
    spoil()
    replace_unreadable(data, 0.5, found)
    data[1]
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data)), data.get_subset([1, 0])):
        assert other.prepare_data.dataset is other
        assert not {*BAD} & {*paths(other[i] for i in range(len(other)))}
    assert data.prepare_data.dataset is data and len(found) == 3
