"""Caches whose concepts labels chose serve a training that knows the same labels, and no other."""

import numpy as np
import pytest
from lfi.apis.caching import cache_teacher
from lfi.datasets.labelled_images import label_digest
from lfi.datasets.shapes import CLASS_NAMES
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from lfi.structures.interaction_cache import InteractionCache
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS, DefaultScope
from picture_files import write_shapes

CLASSIFIER = 'classification/lfi_vit-128x6-p8_shapes.py'
DETECTOR = 'detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'
FILES = [f'a/{i}.png' for i in range(8)]
LABELS = [3, 5, 7, 9, 11, 13, 15, 18]
STEPS = [
    dict(type='LoadImageFromFile'),
    dict(
        type='lfi.RecordView',
        transforms=[dict(type='RandomResizedCrop', scale=64), dict(type='RandomFlip', prob=0.5)],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    dict(type='PackInputs', algorithm_keys=('view', 'interaction_maps')),
]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def images(tmp_path):
    """A folder of eight pictures."""
    write_shapes('train', [tmp_path / 'images' / file for file in FILES])
    return tmp_path / 'images'


@pytest.fixture
def listed(tmp_path):
    """A data set of images in a folder, with the labels of a list."""

    def make(name, folder, labels, *more):
        view = {**STEPS[1], 'transforms': [*STEPS[1]['transforms'], *more]}
        ann_file = tmp_path / f'{name}.txt'
        ann_file.write_text(''.join(f'{FILES[i]} {label}\n' for i, label in labels.items()))
        names = [str(i) for i in range(20)]
        return dict(
            type='CustomDataset',
            data_prefix=str(folder),
            ann_file=str(ann_file),
            metainfo=dict(classes=names),
            pipeline=[STEPS[0], view, *STEPS[2:]],
        )

    return make


@pytest.fixture
def training(config_path, tmp_path):
    """A training of a data set, with maps of two concepts of each image, from `tmp_path / 'cache'`."""

    def make(dataset, views=None):
        cfg = load_config(config_path(CLASSIFIER), {'model.teacher.max_concepts': 2})
        cfg.train_dataloader.dataset = ConfigDict(dataset, _scope_='mmpretrain')
        if views is not None:
            cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, views)
        return cfg

    return make


MORE_STEPS = [dict(type='Rotate', angle=20.0, prob=1.0), dict(type='RandomErasing', erase_prob=1.0)]


def read(cfg, cache):
    """Read all samples of a training, as its data loader does."""
    cfg.model.teacher.cache = str(cache)
    set_teacher_cache(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return [dataset[i]['data_samples'] for i in range(len(dataset))]


def hiding(dataset):
    return dict(type='lfi.FewLabels', labels_per_class=0, dataset=dataset)


def chosen(samples):
    return [sample.interaction_maps.record['concepts'][0].tolist() for sample in samples]


def of(indices, label=None):
    return {i: LABELS[i] if label is None else label for i in indices}


@pytest.mark.parametrize('views', [1, 4])
@pytest.mark.parametrize('hidden', ['few', 'negative'])
def test_other_images_with_a_label_need_another_cache(training, listed, images, tmp_path, views, hidden):
    def semi(labelled):
        rest = [i for i in range(8) if i not in labelled]
        other = listed('U', images, of(rest, None if hidden == 'few' else -1))
        parts = [listed('L', images, of(labelled)), hiding(other) if hidden == 'few' else other]
        return dict(type='lfi.SemiSupervisedDataset', datasets=parts)

    cfg = training(semi(range(4)), views)
    found = chosen(read(cfg, tmp_path / 'cache'))
    assert all(label in concepts for label, concepts in zip(LABELS, found[:4]))
    # The same files list other images now.
    cfg = training(semi(range(4, 8)))
    with pytest.raises(UsageError, match=r"written with labels='mixed \w+', but .* has labels='mixed \w+'"):
        read(cfg, tmp_path / 'cache')


def test_an_image_that_is_also_there_without_a_label_has_the_map_of_its_label(
    training, listed, images, tmp_path
):
    parts = [hiding(listed('U', images, of(range(8)))), listed('L', images, of(range(4)))]
    cfg = training(dict(type='ConcatDataset', datasets=parts), 1)
    found = chosen(read(cfg, tmp_path / 'cache'))
    assert all(label in concepts for label, concepts in zip(LABELS, found[8:]))


@pytest.mark.parametrize('joined', [False, True])
def test_a_cache_serves_images_that_have_moved(training, listed, images, tmp_path, joined):
    def data(folder):
        labelled = listed('L', folder, of(range(4)))
        parts = [labelled, hiding(listed('U', folder, of(range(4, 8))))]
        return dict(type='lfi.SemiSupervisedDataset', datasets=parts) if joined else labelled

    training(data(images), 1)
    images.rename(tmp_path / 'moved')
    assert read(training(data(tmp_path / 'moved')), tmp_path / 'cache')


@pytest.mark.parametrize('views', [1, 4])
def test_images_that_their_own_data_set_marks_as_unlabelled_need_no_wrapper(
    training, listed, images, tmp_path, views, monkeypatch
):
    from mmpretrain.datasets import CustomDataset

    def marked(dataset):
        infos = load(dataset)
        return [
            {**info, 'gt_label': -1, 'unlabelled': True} if i % 2 else info for i, info in enumerate(infos)
        ]

    load = CustomDataset.load_data_list
    monkeypatch.setattr(CustomDataset, 'load_data_list', marked)
    cfg = training(listed('L', images, of(range(8))), views)
    assert len(read(cfg, tmp_path / 'cache')) == 8


@pytest.mark.parametrize('views', [1, 5])
def test_crops_without_some_objects_are_no_change_of_labels(config_path, tmp_path, views):
    options = {'train_dataloader.dataset.num_images': 4, 'model.teacher.max_concepts': 2}
    cfg = load_config(config_path(DETECTOR), options)
    view = next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'lfi.RecordView')
    crop = dict(type='RandomCrop', crop_size=(40, 40), allow_negative_crop=True)
    view.transforms = [*view.transforms, ConfigDict(crop)]
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache_teacher(cfg, str(tmp_path), 4, 0, views)
        for _ in range(4):
            assert len(read(cfg, tmp_path)) == 4


def test_records_hold_no_label_where_labels_chose_nothing(training, listed, images, tmp_path):
    training(hiding(listed('L', images, of(range(8)))), 1)
    paths = [str(images / file) for file in FILES]
    np.testing.assert_array_equal(InteractionCache(tmp_path / 'cache').read(paths)['labels'], 0)


@pytest.mark.parametrize('step', [[], *([step] for step in MORE_STEPS)])
def test_changed_labels_are_named_in_pictures_of_any_shape(training, listed, images, tmp_path, step):
    training(listed('L', images, of(range(8)), *step), 1)
    cfg = training(listed('L', images, of(range(8), 4), *step))
    with pytest.raises(UsageError, match='other labels than it has now, or none, chose'):
        read(cfg, tmp_path / 'cache')


def test_an_image_with_two_labels_is_refused_before_the_teacher_is_asked(training, listed, images):
    two = dict(
        type='ConcatDataset',
        datasets=[listed('L', images, of(range(4))), listed('M', images, of(range(4), 1))],
    )
    with pytest.raises(UsageError, match='0.png is listed twice, with different labels'):
        training(two, 1)


def test_data_sets_may_change_labels_when_they_are_read(training, listed, images, tmp_path, monkeypatch):
    from mmpretrain.datasets import CustomDataset

    def coarse(dataset, index):
        info = own(dataset, index)
        return {**info, 'gt_label': info['gt_label'] // 2}

    own = CustomDataset.get_data_info
    monkeypatch.setattr(CustomDataset, 'get_data_info', coarse)
    assert read(training(listed('L', images, of(range(8))), 1), tmp_path / 'cache')


def test_data_sets_of_other_images_may_have_other_views(training, listed, images, tmp_path):
    other = [dict(type='ColorJitter', brightness=0.5)]
    labelled = dict(type='RepeatDataset', times=3, dataset=listed('L', images, of(range(4))))
    hidden = hiding(listed('U', images, of(range(4, 8)), *other))
    cfg = training(dict(type='lfi.SemiSupervisedDataset', datasets=[labelled, hidden]), 4)
    assert len(read(cfg, tmp_path / 'cache')) == 16


INFO = dict(instances=[dict(bbox_label=1), dict(bbox_label=2, ignore_flag=1)])


@pytest.mark.parametrize(
    ('info', 'other'),
    [
        (INFO, dict(instances=INFO['instances'][:1])),
        (dict(gt_label=1), dict(gt_label=2)),
        (dict(gt_label=[1, 2]), dict(gt_label=[1])),
        (dict(gt_score=[0.5, 0.5]), dict(gt_score=[0.5, 0.25])),
        (dict(seg_map_path='a'), dict(seg_map_path='a', reduce_zero_label=True)),
        (dict(seg_map_path='a'), dict(seg_map_path='a', label_map={1: 0})),
        (
            dict(seg_map_path='a', segments_info=[dict(category=1)]),
            dict(seg_map_path='a', segments_info=[dict(category=2)]),
        ),
    ],
)
def test_digests_of_labels_differ(info, other):
    assert label_digest(info) != label_digest(other) > 0
    assert label_digest({**info, 'unlabelled': True}) == 0


def test_digests_of_labels_know_no_order_and_no_flag_that_a_step_sets():
    assert label_digest(dict(gt_label=[2, 1])) == label_digest(dict(gt_label=np.array([1, 2])))
    objects = [dict(item, ignore_flag=1) for item in INFO['instances'][::-1]]
    assert label_digest(INFO) == label_digest(dict(instances=objects))


def test_captions_are_bound_to_the_maps_that_they_chose(config_path, tmp_path, images):
    captions = tmp_path / 'captions.txt'

    def cfg_of(text, *, read_captions=True):
        captions.write_text(''.join(f'{file.split("/")[1]}#0\t{text}\n' for file in FILES))
        cfg = load_config(config_path(CLASSIFIER), {'model.teacher.max_concepts': 2})
        load = dict(
            type='lfi.LoadCaptionConcepts', concepts=names, ann_file=str(captions), splitter='caption'
        )
        pack = dict(type='PackInputs', algorithm_keys=('view', 'interaction_maps', 'gt_concepts'))
        steps = [STEPS[0], *([load] if read_captions else []), *STEPS[1:3], pack]
        folder = dict(type='lfi.ImageFolder', data_root=str(images), pipeline=steps)
        cfg.train_dataloader.dataset = ConfigDict(folder, _scope_='mmpretrain')
        return cfg

    names = list(CLASS_NAMES)
    cfg = cfg_of(names[3])
    cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0)
    assert all(3 in concepts for concepts in chosen(read(cfg, tmp_path / 'cache')))
    for text, read_captions in ((names[5], True), (names[3], False)):
        with pytest.raises(UsageError, match='other captions than it has here, or none, chose'):
            read(cfg_of(text, read_captions=read_captions), tmp_path / 'cache')
