"""Which caches a training's pipelines may read, and which pipelines a cache of views can serve."""

import cv2
import pytest
from lfi.apis.caching import TeacherJob, cache_teacher
from lfi.datasets import ImageFolder
from lfi.engine.cached_pipelines import loading_options, set_teacher_cache, view_recipe
from lfi.engine.config_loading import load_config
from lfi.engine.labelled_views import labelled_folder, labelled_paths
from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheError
from mmcv.transforms import BaseTransform
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from picture_files import write_shapes

CLASSIFIER = 'classification/lfi_vit-128x6-p8_shapes.py'
JITTER = dict(type='ColorJitter', brightness=0.5)
IGNORED = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def folder_of(config_path, tmp_path):
    """A config that trains on folders of two pictures each, with the same names in each folder."""

    def make(*names, loader=None, before=()):
        cfg = load_config(config_path(CLASSIFIER))
        steps = [
            ConfigDict(loader or dict(type='LoadImageFromFile')),
            *map(ConfigDict, before),
            *cfg.train_dataloader.dataset.pipeline,
        ]
        datasets = []
        for name in names:
            write_shapes(name, [tmp_path / name / f'a/{i}.png' for i in range(2)])
            kind = ConfigDict(type='lfi.ImageFolder', data_root=str(tmp_path / name), pipeline=steps)
            datasets.append(ConfigDict(kind, _scope_='mmpretrain'))
        dataset = datasets[0] if len(names) == 1 else ConfigDict(type='ConcatDataset', datasets=datasets)
        cfg.train_dataloader.dataset = dataset
        return cfg

    return make


def read_cache(cfg, cache):
    cfg.model.teacher.cache = str(cache)
    set_teacher_cache(cfg)


def test_namesakes_in_two_data_sets_are_not_taken_for_one(folder_of, tmp_path):
    cache_teacher(folder_of('train'), str(tmp_path / 'one'), 4, 0)
    cfg = folder_of('train', 'val')
    for path in (tmp_path / 'val').rglob('*.png'):
        cv2.imwrite(str(path), cv2.imread(str(path))[:, ::-1])
    read_cache(cfg, tmp_path / 'one')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert 'interaction_maps' in dataset[0]['data_samples']
    with pytest.raises(CacheError, match=r'for another image than \S+/val/a/0.png'):
        dataset[2]
    cache_teacher(cfg, str(tmp_path / 'both'), 4, 0)
    read_cache(cfg, tmp_path / 'both')
    records = [
        item['data_samples'].interaction_maps.record for item in DATASETS.build(cfg.train_dataloader.dataset)
    ]
    assert len({record.tobytes() for record in records}) == 4


@pytest.mark.parametrize('views', [1, 4])
def test_images_that_are_decoded_in_another_way_are_refused(folder_of, tmp_path, views):
    cache_teacher(folder_of('train'), str(tmp_path / 'cache'), 4, 0, views)
    with pytest.raises(UsageError, match="options None, and here they are loaded with .*ignore_orientation'"):
        read_cache(folder_of('train', loader=IGNORED), tmp_path / 'cache')
    with pytest.raises(UsageError, match='holds other maps: loading is None in the cache'):
        cache_teacher(folder_of('train', loader=IGNORED), str(tmp_path / 'cache'), 4, 0, views)
    other = folder_of('train', loader=IGNORED)
    cache_teacher(other, str(tmp_path / 'other'), 4, 0, views)
    read_cache(other, tmp_path / 'other')


def test_images_that_are_loaded_in_two_ways_are_refused(folder_of):
    cfg, other = folder_of('train'), folder_of('val', loader=IGNORED).train_dataloader.dataset
    usual = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = ConfigDict(type='ConcatDataset', datasets=[usual, other])
    with pytest.raises(UsageError, match='in different ways, by the defaults and by .*ignore_orientation'):
        loading_options(cfg)
    cfg.train_dataloader.dataset = usual
    cfg.custom_hooks = [dict(type='PipelineSwitchHook', switch_pipeline=[IGNORED])]
    with pytest.raises(UsageError, match='in different ways'):
        loading_options(cfg)
    cfg.train_dataloader.dataset = other
    assert loading_options(cfg) == [dict(color_type='color_ignore_orientation')]


def test_loaders_of_ones_own_are_known(folder_of):
    cfg = folder_of('train', loader=dict(type='LoadMine', bits=16))
    assert loading_options(cfg) == [dict(type='LoadMine', bits=16)]


def test_the_teacher_is_asked_about_no_normalised_view(folder_of, tmp_path):
    cfg = folder_of('train')
    view = next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'lfi.RecordView')
    view.transforms = [*view.transforms, ConfigDict(type='Normalize', mean=[1], std=[1])]
    with pytest.raises(UsageError, match='the teacher would see near-black'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, 4)


def test_views_are_drawn_from_images_as_they_are_loaded(folder_of, tmp_path):
    cfg = folder_of('train', before=[JITTER])
    with pytest.raises(UsageError, match='ColorJitter stands before lfi.RecordView'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, 4)
    between = folder_of('train', before=[dict(type='lfi.RecordView', transforms=[]), JITTER])
    with pytest.raises(UsageError, match='ColorJitter stands before lfi.RecordView'):
        cache_teacher(between, str(tmp_path / 'cache'), 4, 0, 4)
    read_cache_of_complete_images = cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, 2)
    assert read_cache_of_complete_images.manifest.views == 2


def test_a_step_whose_view_cannot_be_recorded_is_refused_before_the_teacher_is_asked(folder_of, tmp_path):
    cfg = folder_of('train')
    view = next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'lfi.RecordView')
    view.transforms = [ConfigDict(type='mmdet.MinIoURandomCrop')]
    with pytest.raises(UsageError, match='RecordView cannot follow MinIoURandomCrop'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0)
    assert not (tmp_path / 'cache').exists()


def test_another_seed_of_few_labels_reads_a_cache_of_its_own_labelled_images(config_path, tmp_path):
    """Also where the config, as a run wrote it, names the cache of the first seed."""
    options = {
        'train_dataloader.dataset.num_images': 40,
        'train_dataloader.few_labels.labels_per_class': 1,
        'train_dataloader.few_labels.seed': 0,
    }
    cfg = load_config(config_path(CLASSIFIER), options)
    cache = tmp_path / 'cache'
    for seed in (0, 1):
        cfg.train_dataloader.dataset.seed = seed
        manifest = cache_teacher(cfg, str(cache), 16, 0, 3).manifest
    for seed in (0, 1):
        cfg.train_dataloader.dataset.seed = seed
        read_cache(cfg, cache)
        expected = str(labelled_folder(cache, labelled_paths(cfg), manifest.name_parts))
        view = next(
            step for step in cfg.train_dataloader.dataset.dataset.pipeline if step.type == 'lfi.RecordView'
        )
        assert view.labelled_cache == expected


@TRANSFORMS.register_module()
class LoadTile(BaseTransform):
    """Load the part of a file that a data info names."""

    def transform(self, results):
        image = cv2.imread(results['img_path'])
        side = image.shape[1] // 2
        image = image[:, side * results['tile'] :][:, :side]
        return {**results, 'img': image, 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2]}


def test_parts_of_one_file_that_only_a_loader_tells_apart_are_refused(folder_of, tmp_path, monkeypatch):
    def parts(dataset):
        return [{**info, 'tile': tile} for info in load(dataset) for tile in tiles]

    load, tiles = ImageFolder.load_data_list, (0, 1)
    monkeypatch.setattr(ImageFolder, 'load_data_list', parts)
    monkeypatch.setattr(ImageFolder, 'paths', property(lambda data: [i['img_path'] for i in data.data_list]))
    cfg = folder_of('train', 'val', loader=dict(type='LoadTile'))
    with pytest.raises(UsageError, match=r'0.png is listed more than once, with other entries, .*LoadTile'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0)
    # The same part twice, as of a repeated data set, is one image.
    tiles = (0, 0)
    cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0)


@pytest.mark.parametrize(
    'loader',
    [
        dict(type='mine.LoadImageFromFile', gamma=2.2),
        dict(type='LoadImageAndAnnotations', gamma=2.2),
    ],
)
def test_all_options_of_loaders_are_known(folder_of, loader):
    (options,) = loading_options(folder_of('train', loader=loader))
    assert options['gamma'] == 2.2
    assert loading_options(folder_of('train', loader=dict(type='mine.LoadImageFromFile'))) is not None
    usual = dict(type='mmcv.LoadImageFromFile', backend_args=None, color_type='color', ignore_empty=True)
    assert loading_options(folder_of('train', loader=usual)) is None


def test_drawn_views_are_of_the_same_steps_in_all_data_sets(folder_of):
    cfg = folder_of('train', 'val')
    (recipe,) = view_recipe(cfg)
    parts = cfg.train_dataloader.dataset.datasets
    parts[1] = dict(type='RepeatDataset', times=2, dataset=parts[1])
    assert view_recipe(cfg) == [recipe]
    wrapper, contrast = dict(type='lfi.RecordView', transforms=[JITTER]), dict(type='LoadContrast', gain=2)
    cfg.train_dataloader.dataset = dict(
        type='MultiImageMixDataset', dataset=cfg.train_dataloader.dataset, pipeline=[contrast, wrapper]
    )
    assert view_recipe(cfg) == [recipe, wrapper]
    assert loading_options(cfg) == [contrast]
    parts[1] = dict(type='MultiImageMixDataset', dataset=parts[1], pipeline=[wrapper])
    with pytest.raises(UsageError, match='data sets have different lfi.RecordView'):
        view_recipe(cfg)


@pytest.mark.parametrize('views', [1, 4])
def test_a_file_that_is_replaced_while_the_teacher_is_asked_is_no_longer_served(
    folder_of, tmp_path, monkeypatch, views
):
    def replacing(job, batch):
        path = tmp_path / 'train' / 'a' / '0.png'
        cv2.imwrite(str(path), cv2.imread(str(path))[:, ::-1])
        return compute(job, batch)

    compute = TeacherJob.compute_maps
    cfg = folder_of('train')
    monkeypatch.setattr(TeacherJob, 'compute_maps', replacing)
    cache_teacher(cfg, str(tmp_path / 'cache'), 100, 0, views)
    # The maps are those of the mirrored image, and it is there again.
    cv2.imwrite(str(tmp_path / 'train/a/0.png'), cv2.imread(str(tmp_path / 'train/a/0.png')) // 2)
    read_cache(cfg, tmp_path / 'cache')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    with pytest.raises(CacheError, match=r'for another image than \S+/train/a/0.png'):
        dataset[0]
    assert 'interaction_maps' in dataset[1]['data_samples']
