"""Every config says how it is run, and has its baseline."""

import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import lfi
import pytest
from lfi.concepts import concept_names
from lfi.datasets.transforms import refuse_unrecorded_steps
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.checkpoints.addresses import gone_host_message, named_checkpoints, resolve_checkpoint
from lfi.engine.pipelines import check_pipelines
from lfi.hub.public_config import public_pipeline, public_student
from lfi.registry import EXTRACTORS
from lfi.student_folder import from_plain
from lfi.student_folder.config_sanitizer import MAX_IMAGE_SIDE, check_config
from mmengine.registry import DATASETS
from repository_configs import (
    CLASSIFICATION,
    CONFIGS,
    DETECTION,
    METHODS,
    OTHERS,
    PRETRAINING,
    ROOT,
    SEGMENTATION,
    TASK_LOSS,
    TEACHERS,
    ZERO_SHOT,
    baseline_of,
    bases,
    header,
    read,
)

COMMAND = re.compile(r'tools/(train\.py|dist_train\.sh) +(\S+\.py)(?: (\d+))?(.*)')


@pytest.fixture(scope='module')
def own_text():
    """What the configs of the repository say, without those that they inherit from of other projects."""
    return '\n'.join(path.read_text() for path in (ROOT / 'configs').rglob('*.py'))


def test_configs_are_found():
    assert CLASSIFICATION
    assert DETECTION
    assert TEACHERS
    assert TASK_LOSS
    assert PRETRAINING
    assert 'configs/lfi_mask-rcnn_coco.py' in DETECTION


@pytest.mark.parametrize('config', TEACHERS)
def test_a_teachers_config_names_its_command_its_concepts_and_its_images(config, empty_root, monkeypatch):
    assert re.search(rf'lfi eval-teacher {re.escape(config)}', header(config))
    monkeypatch.setenv('LFI_TEACHER_ROOT', '/teachers')
    cfg = read(config)
    assert cfg.model.teacher.model.startswith('/teachers/')
    assert EXTRACTORS.get(cfg.model.teacher.extractor.type)
    data = cfg.val_dataloader.dataset
    assert data.data_root.startswith(str(empty_root))
    coco = DATASETS.get(f'{cfg.default_scope}.{data.type}')
    assert concept_names(cfg.model.teacher.concepts) == list(coco.METAINFO['classes'])


# Two configs show all that belongs to learning from interactions.
WRITTEN_OUT = {
    'configs/lfi_mask-rcnn_coco.py': 'clip-b16_448',
    'configs/classification/lfi_vit-128x6-p8_shapes.py': 'shapes-tiny',
}


def test_each_teacher_is_written_once():
    spelled = [path for path in (ROOT / 'configs').rglob('*.py') if 'VLMAttentionTeacher' in path.read_text()]
    paths = {path.relative_to(ROOT).as_posix() for path in spelled}
    assert {path for path in paths if not path.startswith('configs/_base_/teachers/')} == WRITTEN_OUT.keys()


@pytest.mark.parametrize('config', WRITTEN_OUT)
def test_what_is_written_out_is_what_other_configs_share(config):
    text, model = (ROOT / config).read_text(), read(config).to_dict()['model']
    for part in ('InteractionQueryViT', 'VLMAttentionTeacher', 'Interactions', 'InteractionDistillLoss'):
        assert f"type='lfi.{part}'" in text
    assert f"task='{model['task']}'" in text
    teacher = model['teacher']
    assert teacher == lfi.teacher_config(WRITTEN_OUT[config], concepts=teacher['concepts'])


def test_no_config_is_a_copy():
    found = {}
    for config in CONFIGS:
        found.setdefault(repr(read(config).to_dict()), []).append(config)
    entry = 'configs/lfi_mask-rcnn_coco.py'
    assert [same for same in found.values() if len(same) > 1] == [
        ['configs/detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py', entry]
    ]


# What these recipes of other projects do to images is not recorded: their teachers are asked online.
ONLINE = ('resnet50_clip-b16_imagenet', 'swin', 'convnext', 'detr')


@pytest.mark.parametrize(
    'config', [config for config in METHODS + PRETRAINING if not any(name in config for name in ONLINE)]
)
def test_it_takes_a_cache(config, empty_root):
    cfg = read(config)
    cfg.model.teacher.cache = 'maps'
    set_teacher_cache(cfg)
    check_pipelines(cfg)
    refuse_unrecorded_steps(cfg.train_dataloader.dataset, cfg.default_scope)


@pytest.mark.parametrize('config', CONFIGS + PRETRAINING + ZERO_SHOT + SEGMENTATION)
def test_its_student_can_be_shared(config, empty_root):
    if config in SEGMENTATION:
        pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    cfg = read(config)
    for part in ('teacher', 'predict_by'):
        if (cfg.model.get(part) or {}).get('concepts'):
            # Their names are in data that are not here.
            cfg.model[part].concepts = ['sock', 'teapot']
    student = SimpleNamespace(state_dict=dict, readout=SimpleNamespace(text_dims=16, contrast_weight=0.5))
    model, _ = public_student(student, cfg, readout=True)
    check_config(from_plain(model), cfg.default_scope, 'model')
    check_config(from_plain(public_pipeline(cfg)), cfg.default_scope, 'pipeline', MAX_IMAGE_SIDE)


@pytest.mark.parametrize('config', CONFIGS + PRETRAINING)
def test_header_holds_the_command_that_runs_it(config, empty_root):
    cfg = read(config)
    commands = COMMAND.findall(header(config))
    assert commands, f'{config}: no command in the header'
    for tool, path, processes, options in commands:
        assert path == config
        assert bool(processes) == (tool == 'dist_train.sh')
        if '--auto-scale-lr' in options:
            continue
        # Otherwise the command trains at the batch size for which the learning rate was chosen.
        given = re.search(r'train_dataloader\.batch_size=(\d+)', options)
        batch_size = int(given.group(1)) if given else cfg.train_dataloader.batch_size
        assert batch_size * int(processes or 1) == cfg.auto_scale_lr.base_batch_size


@pytest.mark.parametrize('config', CONFIGS + PRETRAINING)
def test_training_stops_at_what_is_not_finite_and_at_other_concepts(config, empty_root):
    hooks = read(config).default_hooks
    assert (hooks.non_finite.type, hooks.concept_check.type) == ('lfi.NonFiniteHook', 'lfi.ConceptCheckHook')


@pytest.mark.parametrize('config', CONFIGS + PRETRAINING)
def test_processes_share_the_running_statistics_of_a_stem(config, empty_root):
    cfg = read(config)
    if cfg.model.backbone.get('stem') is not None:
        assert cfg.default_hooks.sync_buffers.type == 'SyncBuffersHook'


# What mmseg is needed for can be read with it alone.
READABLE = [config for config in CONFIGS + OTHERS if find_spec('mmseg') or config not in SEGMENTATION]


@pytest.mark.parametrize('config', READABLE)
def test_no_checkpoint_is_on_a_host_that_is_gone(config, empty_root, own_text):
    for key, checkpoint in named_checkpoints(read(config)):
        address = resolve_checkpoint(checkpoint)
        assert not gone_host_message(address), f'{key}={checkpoint}'
        # Bases of other projects name other hosts in other versions.
        assert checkpoint.startswith('torchvision://') or address.rpartition('/')[2] in own_text


def test_every_baseline_names_the_method_that_inherits_from_it():
    methods = [*METHODS, *(config for config in SEGMENTATION if config not in TASK_LOSS)]
    assert {baseline_of(config) for config in methods} == set(TASK_LOSS)
    for config in methods:
        # Others inherit from a method's config.
        if bases(config)[0] in TASK_LOSS:
            assert Path(config).name in header(bases(config)[0])
