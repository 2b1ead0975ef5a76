"""A cache of several views: training draws them again, and their maps are the teacher's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lfi.apis.caching import TeacherJob, cache_teacher, verify
from lfi.datasets import ImageFolder
from lfi.datasets.transforms.view_draws import seeded_draws, view_seed
from lfi.engine import labelled_views
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from lfi.registry import DATASETS as LFI_DATASETS
from lfi.structures import BatchView, is_unlabelled, unpack
from lfi.structures.interaction_cache import InteractionCache
from lfi.unreadable import UnreadableImageError
from lfi.utils.config_types import model_config
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image

CLASSIFIER = 'classification/lfi_vit-128x6-p8_shapes.py'
FEATURES = 'baselines/logit-kd_vit-128x6-p8_shapes.py'
DETECTOR = 'detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'
MOSAIC = 'detection/lfi_mask-rcnn_vit-128x6-p8-mosaic_shapes.py'
K = 5


@pytest.fixture
def load(config_path):
    """Load a config with six training images."""

    def load_small(name, **options):
        cfg = load_config(config_path(name), {'train_dataloader.dataset.num_images': 6, **options})
        cfg.train_dataloader.num_workers = 0
        return cfg

    return load_small


def trained_samples(cfg, folder, epochs=6):
    """The samples that a training from the cache sees in some epochs."""
    cfg.model.teacher.cache = str(folder)
    set_teacher_cache(cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        return [dataset[i] for _ in range(epochs) for i in range(len(dataset))]


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        (CLASSIFIER, {}),
        (CLASSIFIER, {'model.teacher.max_concepts': 4}),
        (FEATURES, {}),
        (DETECTOR, {}),
    ],
)
def test_the_maps_of_a_view_are_the_teachers_of_the_students_image(load, tmp_path, name, options):
    cfg = load(name, **options)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache = cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)
        targets = TeacherJob(cfg, K).cache_targets
    samples = trained_samples(cfg, tmp_path / 'cache')
    shown = {}
    for item in samples:
        sample, image = item['data_samples'], item['inputs']
        if not torch.equal(sample.view, torch.eye(2, 3)):
            # A new view, whose maps are warped from the complete image.
            continue
        online = targets.compute(BatchView.raw(image[None], [image.shape[-2:]]))
        record = sample.interaction_maps.record
        stored = unpack(record, online.layers, online.directions, 'cpu')
        step = torch.from_numpy(record['step'].copy())[..., None, None]
        assert ((stored.logits - online.logits).abs() <= 0.5 * step + 1e-4).all()
        torch.testing.assert_close(stored.presence, online.presence, atol=1e-5, rtol=0)
        if online.concepts is not None:
            assert torch.equal(stored.concepts, online.concepts)
        shown.setdefault(sample.img_path, set()).add(tuple(record['view'].flat))
    assert cache.manifest.views == K
    # Training shows several views of an image.
    # A new view may happen to show the complete image or its mirror image, whose record it then has.
    complete = {(sign, 0, 0, 0, 1, 0) for sign in (1, -1)}
    assert all(len(views - complete) <= K - 2 for views in shown.values())
    assert sum(map(len, shown.values())) > len(shown)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        (CLASSIFIER, {}),
        (CLASSIFIER, {'model.teacher.max_concepts': 3}),
        (DETECTOR, {'model.teacher.max_concepts': 2}),
    ],
)
def test_the_student_learns_the_same_online_and_from_views(load, tmp_path, name, options):
    cfg = load(name, **options)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)
        samples = trained_samples(cfg, tmp_path / 'cache')
        drawn = [item for item in samples if torch.equal(item['data_samples'].view, torch.eye(2, 3))]
        data = pseudo_collate(drawn[:6])
        online = load(name, **options)
        students = []
        for config in (cfg, online):
            students.append(MODELS.build(model_config(config)))
        students[1].load_state_dict(students[0].state_dict())
        losses = [
            student(**student.data_preprocessor(data, training=True), mode='loss') for student in students
        ]
    # A detector samples its boxes at random.
    for term in ('loss_spatial', 'loss_semantic', 'loss_presence'):
        assert losses[0][term].item() == pytest.approx(losses[1][term].item(), rel=5e-3), term


def test_a_cache_of_views_is_verified_against_the_teacher(load, tmp_path, capsys):
    cfg = load(CLASSIFIER)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache_teacher(cfg, str(tmp_path), 4, 0, K)
        assert verify(cfg, tmp_path, 4, 0, 100)
    assert '30 views were compared' in capsys.readouterr().out


def test_other_transforms_than_those_of_the_cache_are_named(load, tmp_path):
    cfg = load(CLASSIFIER)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache_teacher(cfg, str(tmp_path), 4, 0, K)
    cfg.train_dataloader.dataset.pipeline[0].transforms[1].prob = 0.25
    cfg.model.teacher.cache = str(tmp_path)
    with pytest.raises(
        UsageError,
        match=r'of other transforms: recipe\[0\]\.transforms\[1\]\.prob is 0\.5 in the cache, 0\.25',
    ):
        set_teacher_cache(cfg)


def test_a_view_that_is_drawn_otherwise_is_refused(load, tmp_path, monkeypatch):
    cfg = load(CLASSIFIER)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache_teacher(cfg, str(tmp_path), 4, 0, K)
    monkeypatch.setattr('lfi.datasets.transforms.record_view.view_seed', lambda *args: 1)
    with pytest.raises(UsageError, match=r'view \d in .* differs by .* that the transforms draw'):
        trained_samples(cfg, tmp_path)


@pytest.mark.parametrize(
    ('name', 'hook', 'message'),
    [
        (
            'detection/lfi_mask-rcnn_vit-128x6-p8-mosaic_shapes.py',
            None,
            r'lfi\.Recorded\* shows several images, .* use at most --views 2',
        ),
        (CLASSIFIER, True, 'a hook switches the pipeline'),
    ],
)
def test_pictures_that_are_no_views_of_one_pipeline_are_refused(load, tmp_path, name, hook, message):
    cfg = load(name)
    if hook:
        pipeline = cfg.train_dataloader.dataset.pipeline
        cfg.custom_hooks = [dict(type='mmdet.PipelineSwitchHook', switch_epoch=1, switch_pipeline=pipeline)]
    with pytest.raises(UsageError, match=message):
        cache_teacher(cfg, str(tmp_path), 4, 0, K)
    assert not list(tmp_path.iterdir())


def test_an_image_that_a_step_drops_is_refused(load, tmp_path):
    cfg = load(DETECTOR)
    steps = next(s for s in cfg.train_dataloader.dataset.pipeline if 'transforms' in s).transforms
    steps.insert(0, dict(type='RandomCrop', crop_size=(28, 28)))
    with (
        DefaultScope.overwrite_default_scope(cfg.default_scope),
        pytest.raises(UsageError, match=r'a step in lfi\.RecordView shows nothing of it in view \d'),
    ):
        cache_teacher(cfg, str(tmp_path), 4, 0, 10)


def test_seeded_draws_leave_the_generators_as_they_were():
    def draw():
        return np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    expected = [draw(), draw()]
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    first = draw()
    with seeded_draws(7):
        inside = draw()
    assert [first, draw()] == expected
    with seeded_draws(7):
        assert draw() == inside


def test_seeds_differ_between_images_and_views_and_not_between_roots():
    seeds = {view_seed(f'/data/a/{i}.jpg', 2, view) for i in range(100) for view in range(8)}
    assert len(seeds) == 800
    assert view_seed('/data/a/1.jpg', 2, 3) == view_seed('elsewhere/a/1.jpg', 2, 3)


def picture_folder(folder, count=4):
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((96, 80)).save(folder / f'{number}.png')


def image_folder(folder, *transforms, after=()):
    steps = [dict(type='RandomResizedCrop', scale=64), dict(type='RandomFlip', prob=0.5), *transforms]
    return dict(
        type='lfi.ImageFolder',
        _scope_='mmpretrain',
        data_root=str(folder),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='lfi.RecordView', _scope_='mmpretrain', transforms=steps),
            *after,
            dict(type='lfi.LoadInteractionMaps'),
            dict(type='PackInputs', algorithm_keys=('view', 'interaction_maps')),
        ],
    )


def solarized():
    return dict(type='Solarize', thr=100, prob=1.0)


def test_an_image_of_two_pipelines_is_refused_before_the_teacher_is_asked(load, tmp_path):
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    parts = [image_folder(tmp_path / 'data'), image_folder(tmp_path / 'data', solarized())]
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', _scope_='mmpretrain', datasets=parts)
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        pytest.raises(UsageError, match=r'data sets have different lfi\.RecordView'),
    ):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)
    assert not (tmp_path / 'cache').exists()


def test_a_view_of_other_colours_is_refused(load, tmp_path, monkeypatch):
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset = image_folder(tmp_path / 'data', solarized())
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)
        assert trained_samples(cfg, tmp_path / 'cache')
        monkeypatch.setattr(
            'mmpretrain.datasets.transforms.Solarize.transform', lambda self, results: results
        )
        with pytest.raises(UsageError, match=r'differs in its colours by \d+ of 255'):
            trained_samples(cfg, tmp_path / 'cache')


def test_a_record_view_inside_another_step_is_refused(load, tmp_path):
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    inner = dict(type='lfi.RecordView', transforms=[solarized()])
    nested = dict(type='RandomApply', prob=1.0, transforms=[inner])
    cfg.train_dataloader.dataset = image_folder(tmp_path / 'data', after=[nested])
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        pytest.raises(UsageError, match=r'a lfi\.RecordView stands inside another step'),
    ):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)


def test_maps_are_loaded_once(load, tmp_path):
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='lfi.LoadInteractionMaps'))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache_teacher(cfg, str(tmp_path), 4, 0, 2)
    with pytest.raises(UsageError, match=r'the pipeline has two lfi\.LoadInteractionMaps'):
        trained_samples(cfg, tmp_path)


def test_a_verification_that_compares_nothing_does_not_pass(load, tmp_path):
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset = image_folder(tmp_path / 'data')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)
        for path in (tmp_path / 'data').iterdir():
            path.write_bytes(b'no image')
        assert not verify(cfg, tmp_path / 'cache', 4, 0, 100)


def test_unreadable_images_count_the_same_when_a_run_goes_on(load, tmp_path):
    picture_folder(tmp_path / 'data', 60)
    for number in range(0, 60, 2):
        (tmp_path / f'data/{number}.png').write_bytes(b'no image')
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset = image_folder(tmp_path / 'data')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for _ in range(2):
            with pytest.raises(UnreadableImageError, match='20 of the 38 checked images'):
                cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)


@pytest.mark.parametrize('views', [1, K])
def test_a_pipeline_may_pack_no_path_and_a_data_set_may_have_path_objects(load, tmp_path, monkeypatch, views):
    get_data_info = ImageFolder.get_data_info

    def with_path(self, index):
        info = get_data_info(self, index)
        return {**info, 'img_path': Path(info['img_path'])}

    monkeypatch.setattr(ImageFolder, 'get_data_info', with_path)
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset = image_folder(tmp_path / 'data')
    cfg.train_dataloader.dataset.pipeline[-1].meta_keys = ('ori_shape', 'img_shape')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, views)
    assert len(trained_samples(cfg, tmp_path / 'cache', epochs=1)) == 4


@pytest.mark.parametrize('views', [1, 2, K])
@pytest.mark.parametrize('method', ['__getitem__', 'get_data_info'])
def test_a_data_set_that_gives_another_image_is_refused(load, tmp_path, monkeypatch, method, views):
    class Shifted(ImageFolder):
        """Data set that reorders its images."""

    inherited = getattr(ImageFolder, method)
    monkeypatch.setattr(
        Shifted, method, lambda self, index: inherited(self, (index + 1) % len(self)), raising=False
    )
    monkeypatch.setitem(LFI_DATASETS.module_dict, 'Shifted', Shifted)
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset = image_folder(tmp_path / 'data')
    cfg.train_dataloader.dataset['type'] = 'lfi.Shifted'
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        pytest.raises(UsageError, match=r'\d\.png: the data set gives .*\d\.png in its place'),
    ):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, views)


@pytest.mark.parametrize('views', [1, 2, K])
def test_an_image_that_a_loading_step_drops_has_no_maps(load, tmp_path, monkeypatch, views):
    """MMEngine draws another image in its place, whose maps would get the dropped one's name."""
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset = image_folder(tmp_path / 'data')
    transform = LoadImageFromFile.transform
    monkeypatch.setattr(
        LoadImageFromFile,
        'transform',
        lambda self, results: None if results['img_path'].endswith('3.png') else transform(self, results),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, views)
    assert '3.png\ta step of its pipeline returns None' in (tmp_path / 'cache/unreadable.txt').read_text()


def test_draws_seed_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', None)
    with seeded_draws(3):
        torch.rand(1)


def test_labelled_images_have_more_views(load, tmp_path, capsys, monkeypatch):
    options = {'train_dataloader.dataset.num_images': 40, 'train_dataloader.few_labels.labels_per_class': 1}
    cfg = load(CLASSIFIER, **options)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        cache_teacher(cfg, str(tmp_path), 16, 0, K)
        assert '20 images are labelled' in capsys.readouterr().out
        assert verify(cfg, tmp_path, 16, 0, 10)
        assert capsys.readouterr().out.count('10 views were compared') == 2
        samples = [item['data_samples'] for item in trained_samples(cfg, tmp_path, epochs=12)]
        shown = {}
        for sample in samples:
            assert sample.interaction_maps.cache_digest == InteractionCache(tmp_path).digest
            if torch.equal(sample.view, torch.eye(2, 3)):
                view = sample.interaction_maps.record['view'].tobytes()
                shown.setdefault((is_unlabelled(sample), sample.img_path), set()).add(view)
        most = {
            hidden: max(len(views) for (key, _), views in shown.items() if key is hidden)
            for hidden in (True, False)
        }
        assert most[True] <= K - 2 < most[False]
        other = load(CLASSIFIER, **options, **{'train_dataloader.few_labels.seed': 1})
        notes = []
        monkeypatch.setattr(labelled_views, 'print_log', lambda text, *arguments: notes.append(text))
        trained_samples(other, tmp_path, epochs=1)
        assert len(notes) == 1 and 'lfi cache with the same arguments adds 20 of each' in notes[0]


IGNORED = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')


@pytest.mark.parametrize('by', ['data set', 'hook'])
def test_images_that_are_loaded_in_two_ways_are_refused_before_the_teacher_is_asked(load, tmp_path, by):
    picture_folder(tmp_path / 'data')
    cfg = load(CLASSIFIER)
    usual, other = image_folder(tmp_path / 'data'), image_folder(tmp_path / 'data')
    other['pipeline'][0] = IGNORED
    cfg.train_dataloader.dataset = usual
    if by == 'hook':
        hook = dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=other['pipeline'])
        cfg.custom_hooks = [hook]
    else:
        cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[usual, other])
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        pytest.raises(
            UsageError, match='or pipelines to which a hook switches, load images in different ways'
        ),
    ):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0)


@pytest.mark.parametrize('color_type', ['grayscale', 'unchanged'])
def test_colours_of_views_are_those_of_any_number_of_channels(color_type, load, tmp_path):
    picture_folder(tmp_path / 'data', 2)
    dataset = image_folder(tmp_path / 'data')
    dataset['pipeline'][0] = dict(type='LoadImageFromFile', color_type=color_type)
    cfg = load(CLASSIFIER)
    cfg.train_dataloader.dataset = dataset
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cache_teacher(cfg, str(tmp_path / 'cache'), 4, 0, K)
        assert len(trained_samples(cfg, tmp_path / 'cache')) == 12
