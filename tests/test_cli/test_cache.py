"""`lfi cache` on built-in data, and training from what it wrote."""

import json
import re
import shlex
import shutil
import subprocess
import time

import pytest
import timm
from lfi.datasets import Shapes
from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheError, InteractionCache

CONFIG = 'classification/lfi_vit-128x6-p8_shapes.py'
SMALL = [
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.num_images=64',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.dataset.num_images=40',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1',
    'model.teacher.max_concepts=4',
]
# Of 256 images, but for the last.
THREE_SHARDS = 'train_dataloader.dataset.num_images=520'


@pytest.fixture(scope='module')
def arguments(config_path):
    options = [*SMALL, THREE_SHARDS]
    return [config_path(CONFIG), '--out', 'cache', '--num-workers', '0', '--cfg-options', *options]


@pytest.fixture(scope='module')
def written(run_tool_in, arguments, tmp_path_factory):
    """An undisturbed cache, and what the tool printed. Do not write into it."""
    folder = tmp_path_factory.mktemp('undisturbed')
    return folder / 'cache', run_tool_in(folder, 'cache', *arguments)


@pytest.fixture
def cache(written, tmp_path):
    """A copy of it, as `cache` in the folder where tools run."""
    return shutil.copytree(written[0], tmp_path / 'cache')


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_says_how_far_it_is_and_what_it_wrote(written):
    folder, out = written
    assert '520/520' in out and 'images/s' in out
    assert re.search(r'cache: maps of 520 images, [\d.]+ MB', out)
    # What it says to type works in any folder, and trains what was cached.
    typed = re.search(r'\nNext:\n  lfi train \S+ --cfg-options (.*)\n$', out)[1]
    assert {*shlex.split(typed)} == {*SMALL, THREE_SHARDS, 'model.teacher.cache=cache'} - {SMALL[1]}
    manifest = json.loads((folder / 'manifest.json').read_text())
    assert manifest['teacher']['model'] == 'shapes-tiny' and manifest['teacher']['weights']
    assert (manifest['num_images'], manifest['shard_size']) == (520, 256)
    assert manifest['presence_kind'] == 'softmax over the bank'


def test_a_whole_cache_passes_the_verification_and_a_changed_one_does_not(run_tool, arguments, cache):
    out = run_tool('cache', *arguments, '--verify', '64')
    assert re.search(
        r'3 shards match their checksums\. 64 images .* 0\.\d+ quantisation steps, .*: passed', out
    )
    shard = cache / 'shard-00001.safetensors'
    shard.write_bytes(shard.read_bytes()[:-1] + b'x')
    out = run_tool('cache', *arguments, '--verify', code=1)
    assert 'shard-00001.safetensors is corrupted or was changed' in out


@pytest.mark.parametrize(
    ('option', 'views', 'images'), [((), 1, '520'), (('1000000', '--views', '8'), 8, '1,000,000')]
)
def test_the_cost_is_measured_before_it_is_spent(
    call_tool, config_path, written, tmp_path, monkeypatch, capsys, option, views, images
):
    monkeypatch.setattr('lfi.apis.caching.cost.SECONDS', 0.2)
    call_tool('cache', config_path(CONFIG), '--cost', *option, '--cfg-options', *SMALL, THREE_SHARDS)
    out = capsys.readouterr().out
    assert f'{images} images, each {"once" if views == 1 else "in 8 views"}' in out
    size = float(re.search(r'size: ([\d,.]+) MB', out)[1].replace(',', ''))
    if views == 1:
        files = [*written[0].glob('shard-*'), *written[0].glob('index-*')]
        assert size == pytest.approx(sum(path.stat().st_size for path in files) / 1e6, rel=0.05)
    assert re.search(r'time: \S+ in one process, at [\d,.]+ views/s', out)
    assert not list(tmp_path.iterdir())


def test_training_from_the_cache(run_tool, config_path, cache, tmp_path):
    options = [*SMALL, 'model.teacher.cache=cache']
    out = run_tool('train.py', config_path(CONFIG), '--work-dir', 'run', '--cfg-options', *options)
    assert re.search(r'loss_spatial: [\d.]+', out) and (tmp_path / 'run/epoch_1.pth').is_file()


def test_the_head_learns_from_a_cache_of_what_competes_alone(run_tool, config_path, cache):
    options = [*SMALL, 'model.teacher.cache=cache', 'model.supervision.logit_kd.type=lfi.LogitKD']
    train = ['train.py', config_path(CONFIG), '--work-dir', 'run', '--cfg-options', *options]
    assert re.search(r'loss_logits: [\d.]+', run_tool(*train))
    manifest = cache / 'manifest.json'
    manifest.write_text(manifest.read_text().replace('softmax over the bank', 'sigmoid, concept by concept'))
    out = run_tool(*train, code=1)
    assert re.search(r'supervision\.logit_kd: .*\(sigmoid, .*: set teacher.max_concepts=None, or drop', out)


def test_training_from_the_cache_with_mixed_images(run_tool, config_path, cache, tmp_path):
    options = [*SMALL, 'model.teacher.cache=cache', 'train_dataloader.num_workers=1']
    mixed = config_path('classification/lfi_vit-128x6-p8-mixed_shapes.py')
    out = run_tool('train.py', mixed, '--work-dir', 'run', '--cfg-options', *options)
    assert re.search(r'loss_spatial: [\d.]+', out) and (tmp_path / 'run/epoch_1.pth').is_file()


def test_a_control_trains_on_cached_features(run_tool, config_path, tmp_path):
    config = config_path('baselines/logit-kd_vit-128x6-p8_shapes.py')
    options = [option for option in SMALL if 'max_concepts' not in option]
    write = ['cache', config, '--out', 'features', '--num-workers', '0']
    run_tool(*write, '--cfg-options', *options)
    assert 'passed' in run_tool(*write, '--verify', '--cfg-options', *options)
    options.append('model.teacher.cache=features')
    out = run_tool('train.py', config, '--work-dir', 'run', '--cfg-options', *options)
    assert re.search(r'loss_logits: [\d.]+', out) and (tmp_path / 'run/epoch_1.pth').is_file()


def test_another_teachers_cache_is_left_alone(run_tool, call_tool, arguments, config_path, cache):
    other = 'model.teacher.input_size=96'
    options = [*SMALL, 'model.teacher.cache=cache', other]
    out = run_tool('train.py', config_path(CONFIG), '--cfg-options', *options, code=1)
    assert 'cache does not fit the config: teacher.input_size is None in the cache, 96 here' in out
    with pytest.raises(CacheError, match='cache holds other maps: teacher.input_size is None in the'):
        call_tool('cache', *arguments, other)
    with pytest.raises(CacheError, match='cache does not fit the config: teacher.input_size is None in the'):
        call_tool('cache', *arguments, other, '--verify')


def test_a_killed_run_goes_on_and_gives_the_same_cache(
    run_tool, tool_command, tool_env, warm_python, arguments, written, tmp_path
):
    command = warm_python.command(*tool_command('cache', *arguments)[1:])
    with subprocess.Popen(
        command, cwd=tmp_path, env=tool_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while not (tmp_path / 'cache/shard-00000.safetensors').exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        # The pipe's end: what writes is gone.
        process.stdout.read()
    assert len(list((tmp_path / 'cache').glob('shard-*'))) < 3
    run_tool('cache', *arguments)
    assert content(tmp_path / 'cache') == content(written[0])


def test_two_processes_share_the_work(run_tool, arguments, written, tmp_path):
    run_tool('dist_cache_teacher.sh', arguments[0], '2', *arguments[1:])
    assert content(tmp_path / 'cache') == content(written[0])


def test_a_config_without_a_teacher_is_refused(call_tool, config_path):
    with pytest.raises(UsageError, match='the config has no model.teacher to ask'):
        call_tool('cache', config_path('baselines/task-loss_vit-128x6-p8_shapes.py'), '--out', 'cache')


def test_a_pipeline_that_reads_no_maps_is_refused_before_the_teacher_is_built(
    call_tool, config_path, tmp_path, monkeypatch
):
    monkeypatch.setattr('lfi.models.students.cache_targets.build_teacher', None)
    (tmp_path / 'byhand.py').write_text(
        f'_base_ = {str(config_path(CONFIG))!r}\n'
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='PackInputs')]))"
    )
    with pytest.raises(
        UsageError,
        match="could not read the maps: model.teacher.cache='cache': .* Instead of changing this config",
    ):
        call_tool('cache', 'byhand.py', '--out', 'cache', '--cfg-options', *SMALL)
    assert not (tmp_path / 'cache').exists()


MOSAIC = 'detection/lfi_mask-rcnn_vit-128x6-p8-mosaic_shapes.py'


def test_mosaics_that_training_cannot_paste_are_refused_before_the_first_image(
    call_tool, config_path, monkeypatch
):
    monkeypatch.setattr('lfi.apis.caching.writing.write', None)
    dense = ['--cfg-options', 'model.supervision.dense.type=lfi.DenseFeatures']
    with pytest.raises(UsageError, match='cached features cannot be composed for mosaics'):
        call_tool('cache', config_path(MOSAIC), '--out', 'cache', *dense)
    monkeypatch.setattr('lfi.models.teachers.VLMAttentionTeacher.directions', ('spatial',))
    monkeypatch.setattr('lfi.models.students.cache_targets.check_teacher', lambda *args: None)
    with pytest.raises(ValueError, match='this teacher have no semantic direction'):
        call_tool('cache', config_path(MOSAIC), '--out', 'cache')


def test_no_weights_of_a_timm_student_are_loaded(call_tool, config_path, monkeypatch):
    asked = []
    create = timm.create_model

    def create_model(*args, pretrained=False, **arguments):
        asked.append(pretrained)
        return create(*args, **arguments)

    monkeypatch.setattr('timm.create_model', create_model)
    monkeypatch.setattr('lfi.apis.caching.writing.write', lambda *args: asked.append('written'))
    config = config_path('classification/lfi_timm-regnety-002_shapes.py')
    options = ['model.backbone.backbone.pretrained=True', 'train_dataloader.dataset.num_images=4']
    with pytest.raises(CacheError):
        call_tool('cache', config, '--out', 'cache', '--cfg-options', *options)
    assert asked[0] is False and asked[-1] == 'written'


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.control.type=lfi.Nope', "control.type='lfi.Nope' is unknown; choose from"),
        ('model.readout.contrast_weight=2', r'contrast_weight=2 must lie in \[0, 1\]'),
        ('model.predict_by.type=lfi.ByClassActivation', 'for testing only'),
        ('model.task=5', 'task=5 is not a registered model'),
        ('model.task=None', 'head=VisionTransformerClsHead would learn nothing without a task'),
        ('model.readout.text_dims=64', 'readout.text_dims=64, but the teacher embeds its texts in 96 dim'),
        ('model.head.num_classes=30', 'head.num_classes=30, but the teacher has 20 concepts'),
        ('model.teacher.concepts=ring,star', 'head.num_classes=20, but the teacher has 2 concepts'),
        (
            'model.task=mmpretrain.ImageClasifier',
            "task='mmpretrain.ImageClasifier' is not a registered model",
        ),
        ('model.type=mmpretrain.ImageClassifier', 'learns from no teacher: a cache is for an lfi.Student'),
        ('model.supervision.interactions=None', 'model.supervision has no part that needs a teacher'),
        ('data_preprocessor.batch_augments.augments=Mixup', 'a cache holds the maps of single images'),
        ('model.nekc=None', "unexpected keyword argument 'nekc'"),
    ],
    ids=lambda value: value.partition('=')[0],
)
def test_what_training_would_refuse_is_refused_before_the_first_image(
    call_tool, config_path, tmp_path, monkeypatch, option, message
):
    monkeypatch.setattr('lfi.apis.caching.writing.write', None)
    small = [*SMALL[:-1], option]
    with pytest.raises((ValueError, TypeError), match=message) as refused:
        call_tool('cache', config_path(CONFIG), '--out', 'cache', '--cfg-options', *small)
    assert '\n' not in str(refused.value)


OTHER_ORDER = """
_base_ = {base!r}
model = dict(teacher=dict(concepts={names!r}))
default_hooks = dict(_delete_=True{more})
"""


@pytest.mark.parametrize('more', ['', ", concept_check=dict(type='lfi.ConceptCheckHook')"])
def test_classes_in_another_order_are_refused_before_the_first_image(
    call_tool, config_path, tmp_path, monkeypatch, more
):
    monkeypatch.setattr('lfi.apis.caching.writing.write', None)
    fields = dict(base=str(config_path(CONFIG)), names=Shapes.class_names()[::-1])
    (tmp_path / 'order.py').write_text(OTHER_ORDER.format(more=more, **fields))
    small = [option for option in SMALL if 'hooks' not in option]
    with pytest.raises(UsageError, match=r'teacher\.concepts must begin with the data set.s classes'):
        call_tool('cache', 'order.py', '--out', 'cache', '--cfg-options', *small)


CAPTIONS = """
_base_ = {base!r}
concepts = dict(type='lfi.Shapes', extra=['large white circle', 'green bolt'])
load = dict(type='lfi.LoadCaptionConcepts', concepts=concepts)
read = dict(type='lfi.LoadInteractionMaps')
pack = dict(type='PackInputs', algorithm_keys=('view', 'gt_concepts', 'interaction_maps'))
view = dict(type='lfi.RecordView', transforms=[dict(type='RandomFlip', prob=0.5)])
train_dataloader = dict(dataset=dict(pipeline=[load, view, read, pack]))
model = dict(teacher=dict(concepts=concepts))
custom_hooks = [dict(type='lfi.InteractionVisualizationHook', interval=2)]
"""


def test_what_captions_speak_of_is_cached_and_trained_on(run_tool, config_path, tmp_path):
    config = tmp_path / 'captions.py'
    config.write_text(CAPTIONS.format(base=str(config_path(CONFIG))))
    run_tool('cache', config, '--out', 'cache', '--num-workers', '0', '--cfg-options', *SMALL)
    cache = InteractionCache(tmp_path / 'cache')
    first = Shapes('train', 64)[0]
    assert first['caption'].startswith('a large white circle below a green bolt')
    (record,) = cache.read([first['img_path']])
    presence = dict(zip(record['concepts'].tolist(), record['presence'].tolist()))
    assert {first['gt_label'], 20, 21} <= presence.keys()
    # The teacher's own: a probability over the bank.
    assert sum(presence.values()) <= 1 + 1e-3
    options = ('--work-dir', 'work', '--cfg-options', *SMALL, 'model.teacher.cache=cache')
    out = run_tool('train.py', config, *options)
    assert re.search(r'loss_spatial: [\d.]+', out)
    assert list(tmp_path.glob('work/*/vis_data/vis_image/interactions_0.png'))


@pytest.mark.parametrize('out', ['s3:/bucket/maps', 'S3://bucket/maps'])
def test_a_misspelt_address_is_no_folder(call_tool, config_path, out, capsys):
    with pytest.raises(SystemExit):
        call_tool('cache', config_path('classification/lfi_vit-128x6-p8_shapes.py'), '--out', out)
    assert f'--out {out} would be a folder on this machine: addresses begin as in' in capsys.readouterr().err
