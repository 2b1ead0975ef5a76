"""`lfi.init`, `lfi.train`, `lfi.pretrain` and `lfi.cache`."""

import multiprocessing

import lfi
import open_clip
import pytest
from lfi.apis import training
from lfi.errors import UsageError
from mmengine.config import Config
from picture_files import write_noise, write_shapes
from small_data_sets import write_class_folders

TINY = dict(teacher='shapes-tiny', epochs=1, batch_size=4, input_size=64, weights='none', workers=0)
MODEL = 'test_resnet'
"""A ResNet of timm with half a million parameters."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Class folders with four pictures each."""
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes('train', [root / ('circle' if i % 2 else 'star') / f'{i}.png' for i in range(8)])
    return root


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    """A model of `lfi.train`, and its work dir."""
    out = tmp_path_factory.mktemp('runs') / 'run'
    return lfi.train(folder, MODEL, out=out, **TINY), out


def test_training_caches_the_teacher_and_loads_the_best_model(trained, folder):
    model, out = trained
    assert model.checkpoint == str(next(out.glob('best_*.pth')))
    assert model.classes == ('circle', 'star')
    answer = model.ask(folder / 'star/0.png', ['star', 'ring'])
    assert answer.predicted in model.classes
    assert lfi.load(out).predict(folder / 'star/0.png').scores == pytest.approx(answer.scores, rel=1e-4)


def test_the_config_that_ran_is_in_the_work_dir(trained):
    _, out = trained
    cfg = Config.fromfile(out / 'lfi_shapes.py')
    assert cfg.model.teacher.cache == str(out / 'teacher_cache')
    assert cfg.train_cfg.max_epochs == 1
    assert (out / 'config/lfi_shapes.py').is_file()
    assert repr(lfi.from_pretrained(out / 'teacher_cache')).endswith('6 images, 3 texts, 0.0 MB)')


def test_a_used_work_dir_is_refused_and_the_default_is_numbered(trained, folder, tmp_path, monkeypatch):
    _, out = trained
    with pytest.raises(UsageError, match=r'out=.* holds files already: name a new folder'):
        lfi.train(folder, MODEL, out=out, **TINY)
    monkeypatch.chdir(tmp_path)
    assert str(training._new_work_dir(None, folder)) == 'work_dirs/shapes'
    for name in ('shapes', 'shapes_2'):
        (tmp_path / 'work_dirs' / name / 'config').mkdir(parents=True)
    assert str(training._new_work_dir(None, folder)) == 'work_dirs/shapes_3'


def test_data_workers_end_with_the_training(folder, tmp_path, monkeypatch):
    """Before the garbage collector comes: it waits for seconds for each worker that is left."""
    left = []
    monkeypatch.setattr(training.gc, 'collect', lambda: left.append(multiprocessing.active_children()))
    lfi.train(folder, MODEL, out=tmp_path / 'run', **{**TINY, 'workers': 1})
    assert left and not any(left)


def test_a_written_config_is_cached_and_trained(folder, tmp_path, capsys):
    new = lfi.init(folder, MODEL, out=tmp_path / 'own.py', **{**TINY, 'epochs': 50})
    assert 'class folders, for classification; 6 images to train, 2 to validate' in repr(new)
    assert new.path == tmp_path / 'own.py'
    cache = lfi.cache(new.path, tmp_path / 'maps', workers=0)
    options = {'model.teacher.cache': str(cache.folder), 'train_dataloader.batch_size': 2}
    model = lfi.train(new.path, epochs=1, out=tmp_path / 'run', cfg_options=options)
    cfg = Config.fromfile(tmp_path / 'run/own.py')
    assert cfg.train_dataloader.batch_size == 2
    # The cosine ends with the shorter training.
    assert cfg.max_epochs == cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 1
    assert not (tmp_path / 'run/teacher_cache').exists()
    assert 'best_' in model.checkpoint


def test_images_without_labels_are_trained_on_as_well(folder, tmp_path):
    write_noise(tmp_path / 'more/sub/0.jpg', 0)
    model = lfi.train(folder, MODEL, unlabelled=tmp_path / 'more', out=tmp_path / 'run', **TINY)
    cfg = Config.fromfile(tmp_path / 'run' / f'lfi_{folder.name}.py')
    assert cfg.train_dataloader.dataset.datasets[1].data_root == str(tmp_path / 'more')
    loss = cfg.model.supervision.interactions.loss
    assert (loss.spatial_weight, loss.semantic_weight, loss.presence_weight) == (4, 8, 4)
    assert 'best_' in model.checkpoint


def test_a_config_object_is_read_as_its_file_is(folder, tmp_path):
    new = lfi.init(folder, MODEL, labels_per_class=1, out=tmp_path / 'own.py', **TINY)
    cfg = Config.fromfile(new.path)
    options = {'model.teacher.max_concepts': 1}
    caches = [
        lfi.cache(config, tmp_path / name, cfg_options=options, workers=0)
        for config, name in (
            (new.path, 'file'),
            (cfg, 'object'),
        )
    ]
    assert caches[0].manifest == caches[1].manifest
    lfi.train(
        cfg, out=tmp_path / 'run', cfg_options={'model.teacher.cache': str(tmp_path / 'object'), **options}
    )
    ran = Config.fromfile(tmp_path / 'run/own.py')
    assert ran.train_dataloader.dataset.type == 'lfi.FewLabels'
    assert cfg.train_dataloader.few_labels.labels_per_class == 1


def test_a_training_that_can_read_no_cache_asks_the_teacher(folder, tmp_path, monkeypatch):
    def refuse(*args):
        raise UsageError('no cache')

    monkeypatch.setattr(training, 'cache_teacher', refuse)
    model = lfi.train(folder, MODEL, out=tmp_path / 'run', **TINY)
    assert model.config.model.teacher.get('cache') is None


def test_a_backbone_is_pretrained_on_any_folder(folder, tmp_path):
    concepts = ['circle', 'star', 'a red ring']
    model = lfi.pretrain(folder, MODEL, concepts=concepts, out=tmp_path / 'run', **TINY)
    assert model.checkpoint == str(tmp_path / 'run/epoch_1.pth')
    assert list(model.config.model.teacher.concepts) == concepts
    answer = model.ask(folder / 'star/0.png', ['star', 'a red ring'])
    assert answer.presence.shape == (2,)
    assert answer.labels is None


@pytest.mark.parametrize(
    ('data', 'options', 'message'),
    [
        ('nowhere', {}, r"data='nowhere' is neither a data set nor a config: the path does not exist"),
        ('nowhere.py', {}, r'there is no config nowhere\.py'),
        (
            'lfi_vit-128x6-p8_shapes',
            {'model': 'resnet18'},
            r"model='resnet18' is for a data set, and data='.*lfi_vit-128x6-p8_shapes' is a config",
        ),
        (
            'lfi_vit-128x6-p8_shapes',
            {'teacher': 'clip-b16'},
            r"teacher='clip-b16' is for a data set",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(data, options, message):
    with pytest.raises(UsageError, match=message):
        lfi.train(data, **options)


def test_mistakes_in_data_are_named_in_words_of_python(folder, tmp_path):
    with pytest.raises(UsageError, match=r'^labels_per_class 0 must be at least 1'):
        lfi.init(folder, labels_per_class=0)
    (tmp_path / 'old.py').touch()
    with pytest.raises(UsageError, match=r'^out \S+old\.py exists already'):
        lfi.init(folder, out=tmp_path / 'old.py')
    with pytest.raises(UsageError, match=r'^model resnt18 '):
        lfi.init(folder, 'resnt18', 'shapes-tiny', out=tmp_path / 'new.py')
    with pytest.raises(UsageError, match=r'config=\S+ is not a config: write one by lfi\.init'):
        lfi.cache(folder, tmp_path / 'maps')
    with pytest.raises(UsageError, match=r'has no image'):
        lfi.pretrain(tmp_path)


@pytest.mark.parametrize(
    ('teacher', 'labels_per_class', 'size'),
    [
        ('convnext_base:laion400m_s13b_b51k', None, 128),
        # Few labels, a ViT, and a teacher whose own size is smaller.
        ('convnext_base:laion400m_s13b_b51k', 2, None),
        ('ViT-B-32:openai', None, None),
        ('shapes-tiny', None, None),
    ],
)
def test_a_cnn_sees_small_images_at_128_pixels(tmp_path, teacher, labels_per_class, size):
    write_shapes(
        'train', [tmp_path / 'data' / name / f'{i}.png' for name in 'ab' for i in range(3)], img_size=64
    )
    options = dict(weights='none', labels_per_class=labels_per_class, out=tmp_path / 'own.py')
    new = lfi.init(tmp_path / 'data', MODEL, teacher=teacher, **options)
    assert Config.fromfile(new.path).model.teacher.get('input_size') == size


def test_a_teacher_that_cannot_be_fetched_leaves_no_folder(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        try:
            raise OSError('no route to host')
        except OSError as error:
            raise RuntimeError('Please check your connection and try again') from error

    monkeypatch.setattr(open_clip.factory, 'download_pretrained', no_network)
    photos = write_class_folders(tmp_path / 'photos', count=6)
    with pytest.raises(
        RuntimeError, match='could not be fetched: no route to host. On a machine without'
    ) as caught:
        lfi.train(photos, teacher='clip-b16', epochs=1, out=tmp_path / 'out')
    # The call and the decorator.
    assert len(caught.traceback) == 2 and caught.value.__suppress_context__
    assert not (tmp_path / 'out').exists()
