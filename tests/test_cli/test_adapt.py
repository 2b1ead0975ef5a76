"""`lfi adapt`: what it writes for configs of all tasks learns, and says what is wrong with others."""

import pickle
import re
import shlex
from argparse import Namespace

import numpy as np
import pytest
import torch
from lfi.adaptation import read_user_config
from lfi.adaptation.overlay import build_model
from lfi.adaptation.teacher import configure_teacher
from lfi.cli import adapt
from lfi.engine.config_loading import load_config
from lfi.engine.pipelines import LOADERS, check_pipelines
from lfi.errors import UsageError
from lfi.models.adapters import InteractionQueries
from lfi.models.backbones import InteractionQueryViT
from lfi.models.batches.pixel_format import pixel_format_of
from lfi.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10
from PIL import Image

# A plain ResNet-18 of mmpretrain on Shapes, as a user may have it.
SHAPES = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['lfi'])
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=20, in_channels=64),
)
data_preprocessor = dict(mean=[127.5] * 3, std=[64.0] * 3, to_rgb=True, num_classes=20)
train_pipeline = [
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.6, 1.0)),
    dict(type='ColorJitter', brightness=0.2),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type='lfi.Shapes', split='train', num_images=8, pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type='lfi.Shapes', split='val', num_images=8, pipeline=[dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.01))
"""
UNNAMED = SHAPES.replace('lfi.Shapes', 'CustomDataset').replace(
    "split='train', num_images=8", "data_root='gone'"
)

NAMED = "metainfo=dict(classes=[f'thing {i}' for i in range(20)])"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the user's config, and run the command on it; the new config's file."""
    monkeypatch.chdir(tmp_path)
    # The command silences what it builds, and ends its process.
    logger = MMLogger.get_current_instance()
    level = logger.level

    def write(config=SHAPES, teacher='shapes-tiny', **options):
        name = config
        if '\n' in config:
            (tmp_path / 'mine.py').write_text(config)
            name = 'mine.py'
        options = {'out': None, 'concepts': None, 'unlabelled': None, **options}
        adapt.run(Namespace(config=name, teacher=teacher, **options))
        return next(tmp_path.glob('lfi_*.py'))

    yield write
    logger.setLevel(level)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A folder of CIFAR-10 in which all images are red."""
    folder = tmp_path / 'cifar-10-batches-py'
    folder.mkdir()
    pixels = np.zeros((2, 3, 1024), np.uint8)
    pixels[:, 0] = 200
    entry = pickle.dumps({'data': pixels.reshape(2, -1), 'labels': [0, 1]})
    for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]:
        (folder / name).write_bytes(entry)
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)
    return tmp_path


def model_of(cfg, weights=None):
    """A config's model, with the weights of the plain one."""
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = build_model(cfg, 'the test').eval()
    if weights is not None:
        differ = model.load_state_dict(weights, strict=False)
        assert not differ.unexpected_keys
        # A Swin has a norm for the map that queries read.
        assert all(re.search('interaction|readout|backbone.norm2', name) for name in differ.missing_keys)
    return model


@pytest.mark.parametrize(
    ('config', 'task', 'reads', 'names'),
    [
        (
            'mmpretrain::resnet50_8xb32_in1k',
            'mmpretrain.ImageClassifier',
            ('layer3', 'layer4'),
            'lfi.ImageNetNames',
        ),
        ('mmpretrain::swin-tiny_16xb64_in1k', 'mmpretrain.ImageClassifier', None, 'lfi.ImageNetNames'),
        ('mmpretrain::deit-tiny_4xb256_in1k', 'mmpretrain.ImageClassifier', None, 'lfi.ImageNetNames'),
        ('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'mmdet.MaskRCNN', None, 'mmdet.CocoDataset'),
        ('mmdet::rtmdet_tiny_8xb32-300e_coco', 'mmdet.RTMDet', None, 'mmdet.CocoDataset'),
    ],
)
def test_what_it_writes_is_the_plain_model_with_interactions(config, task, reads, names, write, capsys):
    file = write(config, teacher='clip-b16')
    said = capsys.readouterr().out
    cfg = load_config(str(file))
    assert (cfg.model.type, cfg.model.task) == ('lfi.Student', task)
    assert f'-> lfi.Student of {task}' in said
    assert cfg.model.backbone.get('reads') == reads
    teacher = cfg.model.teacher
    assert (teacher.model, teacher.concepts, teacher.max_concepts) == (
        'ViT-B-16-quickgelu',
        dict(type=names),
        16,
    )
    assert teacher.get('input_size') == (448 if config.startswith('mmdet') else None)
    assert f'lfi train {file.name} --cache-teacher' in said and 'the training data were not found' in said
    plain = model_of(read_user_config(config).cfg)
    adapted = model_of(cfg, plain.state_dict())
    assert isinstance(adapted.backbone, InteractionQueries | InteractionQueryViT)
    size = 224 if 'swin' in config or 'deit' in config else 64
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = plain.extract_feat(image), adapted.extract_feat(image)
    # A Swin gives one map more, which the head leaves unread.
    assert all(torch.equal(*pair) for pair in zip(found[-len(expected) :], expected, strict=True))


@pytest.mark.parametrize(
    ('name', 'larger'),
    [
        ('ViT-B-16:openai', True),
        ('ViT-B-16-SigLIP2:webli', True),
        ('PE-Core-B-16:meta', True),
        ('EVA02-L-14:merged2b_s4b_b131k', True),
        ('ViT-B-16-SigLIP2-512:webli', False),
        ('RN50:openai', False),
        ('convnext_base:laion400m_s13b_b51k', False),
    ],
)
def test_the_teacher_of_large_images_is_asked_at_448_px_where_it_can_be(name, larger):
    _, teacher = configure_teacher(name, ['cat', 'dog'], 2, is_dense=True)
    assert teacher.get('input_size') == (448 if larger else None)
    _, teacher = configure_teacher(name, ['cat', 'dog'], 2, is_dense=False)
    assert 'input_size' not in teacher


def test_yolox_learns_beside_a_folder(write, tmp_path):
    (tmp_path / 'photos').mkdir()
    Image.fromarray(np.zeros((70, 80, 3), np.uint8)).save(tmp_path / 'photos/1.jpg')
    cfg = load_config(str(write('mmdet::yolox_tiny_8xb8-300e_coco', teacher='clip-b16', unlabelled='photos')))
    init_default_scope('mmdet')
    mixed, folder = cfg.train_dataloader.dataset.datasets
    assert mixed.type == 'MultiImageMixDataset'
    sample = DATASETS.build(folder)[0]
    # Neither boxes are read, nor the border of a mosaic cut off.
    assert sample['data_samples'].metainfo['unlabelled'] and sample['inputs'].shape[1:].numel() > 400**2
    check_pipelines(cfg)


def test_a_hook_switches_the_labelled_images_beside_a_folder(write, tmp_path):
    (tmp_path / 'photos').mkdir()
    cfg = load_config(
        str(write('mmdet::rtmdet_tiny_8xb32-300e_coco', teacher='clip-b16', unlabelled='photos'))
    )
    dataset = cfg.train_dataloader.dataset
    assert dataset.type == 'lfi.SemiSupervisedDataset'
    assert [part.type for part in dataset.datasets] == ['CocoDataset', 'lfi.ImageFolder']
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'PipelineSwitchHook')
    # An image alone has the scale of an image alone, and not that of a mosaic's canvas.
    scales = [
        next(step.transforms[0].scale for step in pipeline if step.type == 'lfi.RecordView')
        for pipeline in (dataset.datasets[0].pipeline, dataset.datasets[1].pipeline, hook.switch_pipeline)
    ]
    assert scales == [(1280, 1280), (640, 640), (640, 640)]
    check_pipelines(cfg)


def test_padding_and_mosaics_are_left_to_what_notes_them(write, capsys):
    cfg = load_config(str(write('mmdet::rtmdet_tiny_8xb32-300e_coco', teacher='clip-b16')))
    assert cfg.model.task == 'mmdet.RTMDet' and cfg.model.data_preprocessor.pad_size_divisor == 32
    assert cfg.model.data_preprocessor.mean == [103.53, 116.28, 123.675]
    names = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert names == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'lfi.RecordedCachedMosaic',
        'lfi.RecordView',
        'lfi.RecordedCachedMixUp',
        'lfi.LoadInteractionMaps',
        'PackDetInputs',
    ]
    assert cfg.custom_hooks[1].switch_pipeline[2].type == 'lfi.RecordView'
    assert 'Pad' not in str(cfg.test_dataloader.dataset.pipeline)
    said = capsys.readouterr().out
    assert 'lfi.RecordedCachedMosaic, lfi.RecordedCachedMixUp record what they mix' in said


def test_a_config_of_mmseg(write):
    pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    config = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    cfg = load_config(str(write(config, teacher='clip-b16')))
    assert cfg.model.task == 'mmseg.EncoderDecoder' and cfg.model.pretrained is None
    assert cfg.model.backbone.backbone.init_cfg.checkpoint == 'open-mmlab://resnet18_v1c'
    assert cfg.model.teacher.concepts == dict(type='mmseg.CityscapesDataset')


def test_padding_of_mmseg_has_its_names(write):
    pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    # A pipeline that pads, to the size to which the data preprocessor pads anyway.
    config = 'mmseg::deeplabv3/deeplabv3_r50-d8_4xb4-20k_voc12aug-512x512.py'
    cfg = load_config(str(write(config, teacher='clip-b16')))
    preprocessor = model_of(cfg).data_preprocessor
    assert (preprocessor.size, preprocessor.size_divisor, preprocessor.pad_val) == ((512, 512), None, -1.99)
    # A backbone that wants multiples, of images of any size.
    cfg = load_config(
        str(write('mmseg::unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py', teacher='shapes-tiny'))
    )
    assert model_of(cfg).data_preprocessor.test_cfg == dict(size_divisor=2)


def test_weights_on_a_host_that_is_gone_are_said(write, capsys):
    path = 'mmclassification/v0/resnet/resnet18_8xb16_cifar10_2021.pth'
    gone, mirror = (f'https://{host}/{path}' for host in ('download.openmmlab.com', 'mmassets.onedl.ai'))
    begin = f"init_cfg=dict(type='Pretrained', checkpoint='{gone}', prefix='backbone.'), "
    write(SHAPES.replace('backbone=dict(', f'backbone=dict({begin}'))
    first, _, then = capsys.readouterr().out.partition('First:\n')[2].partition('Next:\n')
    (line,) = [line.strip() for line in first.splitlines()]
    assert then.startswith('  lfi train')
    assert line == (
        f"model.backbone.backbone.init_cfg.checkpoint='{gone}' cannot be fetched: the host "
        f'download.openmmlab.com is gone: write {mirror} in its place.'
    )


def test_a_model_of_the_written_file_trains_from_its_cache(write, tmp_path, warm_python, capsys):
    file = write()
    assert "reads=('layer3', 'layer4')" in file.read_text() and "_base_ = 'mine.py'" in file.read_text()
    commands = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('  lfi ')]
    assert [words[1] for words in commands] == ['train', 'test']
    script = tmp_path / 'lfi'
    script.write_text('from lfi.cli import main\nmain()\n')
    for words in commands:
        process = warm_python.run([script, *words[1:]], tmp_path)
        assert process.returncode == 0, process.stdout
    log = next((tmp_path / 'work_dirs/lfi_mine').glob('*/vis_data/scalars.json'))
    assert len(list(log.parents[1].parent.glob('teacher_cache/*'))) > 1
    checkpoint = torch.load(tmp_path / 'work_dirs/lfi_mine/epoch_1.pth', weights_only=False)
    assert checkpoint['message_hub']['runtime_info']['iter'] == 1


def test_predictions_are_those_of_the_plain_model(write):
    file = write()
    plain = model_of(load_config('mine.py'))
    adapted = model_of(load_config(str(file)), plain.state_dict())
    batch = next(iter(Runner.build_dataloader(load_config('mine.py').val_dataloader)))
    scores = [
        torch.stack([sample.pred_score for sample in model.test_step(batch)]) for model in (plain, adapted)
    ]
    assert torch.equal(*scores)


def test_a_folder_without_labels_stands_beside_the_labelled_images(write, tmp_path, capsys):
    (tmp_path / 'photos').mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'photos/{i}.jpg')
    mixing = SHAPES.replace(
        '    neck=', "    train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),\n    neck="
    )
    cfg = load_config(str(write(mixing, unlabelled='photos')))
    assert cfg.model.train_cfg is None
    assert 'half of each batch is labelled' in capsys.readouterr().out
    loader = Runner.build_dataloader(cfg.train_dataloader)
    assert len(loader.dataset) == 8 + 3
    batch = next(iter(loader))
    hidden = [sample.metainfo.get('unlabelled', False) for sample in batch['data_samples']]
    assert sum(hidden) == 2 and all(image.shape == (3, 64, 64) for image in batch['inputs'])
    model = model_of(cfg).train()
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert losses['loss_spatial'] > 0


class Swirl(BaseTransform):
    """A step of which nobody knows where it moves pixels."""

    def transform(self, results):
        return results


@pytest.fixture
def swirl(monkeypatch):
    monkeypatch.setitem(TRANSFORMS.parent._module_dict, 'Swirl', Swirl)


def test_a_pipelines_own_padding_value_is_kept(write):
    file = write('mmdet::yolox_tiny_8xb8-300e_coco', teacher='clip-b16')
    image = np.full((40, 64, 3), 9, np.uint8)
    cfg = load_config(str(file))
    model = model_of(cfg)
    batch = dict(inputs=[torch.from_numpy(image).permute(2, 0, 1)], data_samples=[DetDataSample()])
    batch['data_samples'][0].set_metainfo(dict(img_shape=(40, 64), pad_shape=(40, 64)))
    padded = model.data_preprocessor(batch, training=False)['inputs'][0]
    assert padded.shape == (3, 64, 64)
    # YOLOX is gray beside its images.
    assert torch.all(padded[:, :40] == 9) and torch.all(padded[:, 40:] == 114)


@pytest.mark.parametrize(
    ('value', 'expected'), [(0, -1.99), (dict(img=(127, 128, 127), seg=255), None), (255, 1.99)]
)
def test_padding_follows_normalisation(value, expected, write):
    padding = f"train_pipeline = [dict(type='Pad', size_divisor=8, pad_val={value!r}),"
    config = SHAPES.replace('train_pipeline = [', padding)
    assert load_config(str(write(config))).data_preprocessor.get('pad_value') == expected


def test_a_classifiers_images_stay_as_large_as_they_were_padded(write, tmp_path):
    pad = "dict(type='Pad', size=(64, 64), pad_val=127),"
    config = SHAPES.replace("dict(type='PackInputs')", pad + "dict(type='PackInputs')").replace(
        "RandomResizedCrop', scale=64, crop_ratio_range=(0.6, 1.0)", "RandomCrop', crop_size=(40, 48)"
    )
    cfg = load_config(str(write(config)))
    assert cfg.data_preprocessor.pad_size_divisor == 64 and "Pad'" not in str(cfg.train_dataloader)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        batch = next(iter(Runner.build_dataloader(loader)))
        model = model_of(cfg)
        assert model.data_preprocessor(batch, training=True)['inputs'].shape[2:] == (64, 64)
    narrow = config.replace('size=(64, 64)', 'size=(64, 48)')
    with pytest.raises(UsageError, match=r'the pipelines pad to size=\(64, 48\), .* to squares of one size'):
        write(narrow, out='lfi_narrow.py')


def test_data_that_cannot_be_read_do_not_stop_it(write, capsys, monkeypatch):
    def lacks(*args, **options):
        raise ImportError('Package lvis is not installed')

    monkeypatch.setattr('lfi.datasets.Shapes.load_data_list', lacks)
    write()
    said = capsys.readouterr().out
    assert 'the training data could not be built (ImportError: Package lvis' in said
    # Commands that would fail are not advised.
    assert 'lfi train' not in said and 'correct the data in mine.py' in said


def test_an_image_that_cannot_be_read_does_not_stop_it(write, capsys, tmp_path):
    (tmp_path / 'gone.txt').write_text('a.jpg 0\n')
    config = UNNAMED.replace("data_root='gone'", f"data_root='.', ann_file='gone.txt', {NAMED}")
    write(config.replace('train_pipeline = [', "train_pipeline = [dict(type='LoadImageFromFile'),"))
    said = r'1 training images; the first could not be read: .*a\.jpg: .* \(No such file or directory\)'
    assert re.search(said, capsys.readouterr().out)


def test_mixed_precision_is_built_without_a_gpu(write, monkeypatch):
    monkeypatch.setattr('mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available', lambda: False)
    amp = "optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', "
    assert load_config(str(write(SHAPES.replace('optim_wrapper = dict(', amp)))).optim_wrapper.loss_scale


def test_a_norm_of_several_processes_is_a_plain_one_in_the_check(write, capsys):
    norms = "stem_channels=8, norm_cfg=dict(type='MMSyncBN')"
    cfg = load_config(str(write(SHAPES.replace('stem_channels=8', norms))))
    assert cfg.model.backbone.backbone.norm_cfg.type == 'MMSyncBN'
    assert 'MMSyncBN wants a process group' in capsys.readouterr().out


def test_class_names_with_commas_can_be_told_apart(write, tmp_path):
    (tmp_path / 'names.txt').write_text('tench, Tinca tinca\ncock\n')
    with pytest.raises(UsageError, match=r'names 2 classes: tench, Tinca tinca \| cock\.'):
        write(SHAPES, concepts='names.txt')


def test_labels_that_are_no_longer_mixed_are_no_scores(write, tmp_path, capsys):
    (tmp_path / 'photos').mkdir()
    Image.new('RGB', (64, 64)).save(tmp_path / 'photos/a.png')
    soft = SHAPES.replace('to_rgb=True,', 'to_rgb=True, to_onehot=True,').replace(
        'in_channels=64', "in_channels=64, loss=dict(type='CrossEntropyLoss', use_soft=True)"
    )
    cfg = load_config(str(write(soft, unlabelled='photos')))
    assert cfg.model.head.loss.use_soft is False and not cfg.data_preprocessor.to_onehot
    assert 'loss.use_soft=False' in capsys.readouterr().out


def test_a_step_that_needs_annotations_is_named(swirl, monkeypatch, write, tmp_path):
    def needs_boxes(self, results):
        if 'photos' in results['img_path']:
            raise KeyError('gt_bboxes')
        return results

    monkeypatch.setattr(Swirl, 'transform', needs_boxes)
    (tmp_path / 'photos').mkdir()
    Image.new('RGB', (64, 64)).save(tmp_path / 'photos/a.png')
    config = SHAPES.replace("    dict(type='RandomFlip', prob=0.5),", "    dict(type='Swirl'),")
    with pytest.raises(UsageError, match='--unlabelled: train_pipeline has a step .*gt_bboxes'):
        write(config, unlabelled='photos')


def test_the_next_commands_can_be_typed(write, tmp_path, capsys):
    Config.fromstring(SHAPES, '.py').dump(tmp_path / 'my net.yaml')
    write('my net.yaml')
    typed = [shlex.split(line)[:3] for line in capsys.readouterr().out.splitlines() if line[:5] == '  lfi']
    assert typed == [['lfi', command, 'lfi_my net.py'] for command in ('train', 'test')]


def test_the_next_commands_name_the_work_dir_and_no_test_that_is_not_there(write, capsys):
    without = SHAPES.replace('test_dataloader =', '_unused =').replace('test_evaluator =', '_no =')
    write(without.replace('test_cfg = dict()', ''))
    said = capsys.readouterr().out
    assert 'lfi train lfi_mine.py --cache-teacher' in said
    assert 'lfi test' not in said


def test_the_trainings_own_folder_and_checkpoints_are_left_alone(write, capsys):
    # As a Runner dumps its config.
    dumped = "work_dir = './work_dirs/mine'\nresume = True\nload_from = 'work_dirs/mine/epoch_3.pth'\n"
    cfg = load_config(str(write(SHAPES + dumped)))
    assert (cfg.work_dir, cfg.resume, cfg.load_from) == ('work_dirs/lfi_mine', False, None)
    said = capsys.readouterr().out
    assert (
        './work_dirs/mine -> work_dirs/lfi_mine' in said
        and 'False: training starts from the first epoch' in said
    )
    assert 'work_dir' not in write(SHAPES, out='lfi_other.py').read_text()


@pytest.mark.parametrize(
    ('keys', 'added'),
    [
        ({'backbone': dict(lr_mult=0.1, decay_mult=0.5)}, dict(lr_mult=1.0, decay_mult=0.5)),
        ({'backbone': dict(decay_mult=0.5)}, None),
        ({'head': dict(lr_mult=10)}, None),
    ],
)
def test_new_layers_learn_at_the_full_rate(keys, added, write, capsys):
    plain = SHAPES.replace(
        'lr=0.01)', f'lr=0.01, weight_decay=0.05), paramwise_cfg=dict(custom_keys={keys!r})'
    )
    cfg = load_config(str(write(plain)))
    own = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert own == ({**keys, 'backbone.interaction': added} if added else keys)
    assert ('lr_mult=1.0 for backbone.interaction*' in capsys.readouterr().out) == bool(added)
    groups = build_optim_wrapper(model_of(cfg), cfg.optim_wrapper).optimizer.param_groups
    rates = {group['lr'] for group in groups}
    assert rates == ({0.01, 0.001} if added else {0.01} if 'backbone' in keys else {0.01, 0.1})
    new = model_of(cfg).backbone.interaction
    assert sum(p.numel() for p in new.parameters()) <= sum(
        p.numel() for group in groups for p in group['params'] if group['lr'] == 0.01
    )


def test_what_no_cache_can_follow_is_taught_online(swirl, write, capsys):
    config = SHAPES.replace("    dict(type='RandomFlip', prob=0.5),", "    dict(type='Swirl'),")
    file = write(config)
    said = capsys.readouterr().out
    assert 'the teacher is asked in each step: RecordView cannot follow Swirl' in said
    assert '--cache-teacher' not in said and 'RecordView' not in file.read_text()


def test_data_are_not_fetched(write, capsys, monkeypatch):
    def download(*args, **options):
        raise AssertionError('data were asked for')

    monkeypatch.setattr('mmpretrain.datasets.cifar.download_and_extract_archive', download)
    write('mmpretrain::resnet18_8xb16_cifar10', teacher='clip-b16')
    said = capsys.readouterr().out
    assert 'mmpretrain.CIFAR10' in said and 'the training data were not found' in said
    assert 'data were asked for' not in said
    assert 'no step of the pipeline loads images from files' in said


def test_rgb_images_become_bgr_and_the_student_sees_what_it_saw(cifar, write, capsys):
    file = write('mmpretrain::resnet18_8xb16_cifar10')
    assert 'images are loaded as BGR' in capsys.readouterr().out
    mine, plain = load_config(str(file)), read_user_config('mmpretrain::resnet18_8xb16_cifar10').cfg
    batches = []
    for cfg in (mine, plain):
        cfg.test_dataloader.dataset.data_root = str(cifar)
        data = pseudo_collate([DATASETS.build(cfg.test_dataloader.dataset)[0]])
        model = model_of(cfg)
        batches.append(model.data_preprocessor(data)['inputs'])
    assert torch.equal(*batches)
    # What the teacher sees: red is red.
    student = model_of(mine)
    seen = student.teacher._prepare(batches[0], pixel_format_of(student.data_preprocessor), None)
    red, green, blue = seen.mean((0, 2, 3)).tolist()
    assert red > green and red > blue
    assert all(mine[name].dataset.type == 'lfi.CIFAR10' for name in LOADERS)


def test_names_of_a_file_take_the_place_of_missing_ones(write, tmp_path):
    with pytest.raises(UsageError, match='CustomDataset.*names no classes.*--concepts FILE'):
        write(UNNAMED)
    names = [f'thing {i}' for i in range(20)]
    (tmp_path / 'names.txt').write_text('\n'.join(names) + '\n\n')
    cfg = load_config(str(write(UNNAMED, concepts='names.txt')))
    assert cfg.model.teacher.concepts == names


def test_the_mark_of_an_editor_is_no_part_of_a_name(write, tmp_path):
    names = [f'thing {i}' for i in range(20)]
    (tmp_path / 'names.txt').write_text('\n'.join(names), encoding='utf-8-sig')
    assert load_config(str(write(UNNAMED, concepts='names.txt'))).model.teacher.concepts == names
    (tmp_path / 'names.txt').write_bytes(b'caf\xe9')
    with pytest.raises(UsageError, match='in names.txt cannot be read: .*utf-8.*--concepts FILE'):
        write(UNNAMED, concepts='names.txt', out='lfi_other.py')


def test_underscores_of_a_file_are_spaces_and_synonyms_are_refused(write, tmp_path):
    names = ['red_barn', 'fire_truck', *map(str, range(18))]
    (tmp_path / 'names.txt').write_text('\n'.join(names))
    cfg = load_config(str(write(SHAPES, concepts='names.txt')))
    assert cfg.model.teacher.concepts[:2] == ['red barn', 'fire truck']
    (tmp_path / 'names.txt').write_text('\n'.join(['barn|stable', *names[1:]]))
    with pytest.raises(UsageError, match=r"has the line 'barn\|stable': a concept has one text"):
        write(SHAPES, concepts='names.txt', out='lfi_other.py')


def test_underscores_around_a_name_are_no_spaces(write):
    things = "metainfo=dict(classes=['__background__', '{}']), split='train'"
    config = SHAPES.replace("split='train'", things).replace('num_classes=20', 'num_classes=2')
    cfg = load_config(str(write(config.replace('{}', 'red__star'), teacher='clip-b16')))
    assert cfg.model.teacher.concepts == ['background', 'red star']


def test_names_of_the_metainfo_come_before_those_of_the_class(write):
    things = SHAPES.replace("split='train'", "metainfo=dict(classes=['red_star', 'dot']), split='train'")
    with pytest.raises(
        UsageError, match=r'num_classes=20, but the data set names 2 classes: red_star .| dot'
    ):
        write(things)
    cfg = load_config(str(write(things.replace('num_classes=20', 'num_classes=2'), teacher='clip-b16')))
    assert cfg.model.teacher.concepts == ['red star', 'dot']


def test_one_class_has_a_background_beside_it(write):
    one = SHAPES.replace("split='train'", "metainfo=dict(classes=['person']), split='train'")
    cfg = load_config(str(write(one.replace('num_classes=20', 'num_classes=1'), teacher='clip-b16')))
    assert cfg.model.teacher.concepts == ['person'] and cfg.model.teacher.background == ['background']


def test_names_that_come_twice_are_refused(write, tmp_path):
    (tmp_path / 'names.txt').write_text('\n'.join(map(str, [0, *range(19)])))
    with pytest.raises(UsageError, match=r"names.txt has \['0'\] more than once"):
        write(SHAPES, concepts=str(tmp_path / 'names.txt'))


@pytest.mark.parametrize(
    ('config', 'options', 'says'),
    [
        ('gone.py', {}, 'there is no config gone.py'),
        ('nothing.here::x', {}, 'names a config of nothing.here, which is not installed'),
        (
            'mmpretrain::vit-base-p16_8xb128-coslr-100e_in1k',
            {},
            'has [0-9] configs named .*choose one of mmpretrain::.*, mmpretrain::',
        ),
        (SHAPES + 'train_dataloader = None\n', {}, 'has no train_dataloader.dataset'),
        (SHAPES, {'out': 'mine.py/lfi_mine.py'}, '--out mine.py/lfi_mine.py cannot be written'),
        (
            'mmdet::rtmdet_tny_8xb32-300e_coco',
            {},
            'has no config .*similar names are rtmdet_tiny_8xb32',
        ),
        ('import_ = 1\n', {}, 'mine.py is not a config of a model: it has no model=dict'),
        ('model = dict(\n', {}, 'mine.py cannot be read as an OpenMMLab config: SyntaxError'),
        ('from mmdet.models import *\nmodel = 1\n', {}, 'lazy config.*lfi print-config'),
        (
            'lfi_vit-128x6-p8_shapes',
            {},
            "'lfi.Student' is a student already: .* set model.teacher and model.sup",
        ),
        (
            SHAPES.replace("'ImageClassifier'", "'ImageClasifier'"),
            {},
            "'ImageClasifier' is registered in no installed",
        ),
        (SHAPES.replace("'ImageClassifier'", "'TimmClassifier'"), {}, 'is of a task unknown to lfi adapt'),
        (SHAPES.replace('depth=18', 'depth=17'), {}, "model.backbone.type='ResNet_CIFAR' cannot be built"),
        (
            'mmpretrain::deit-tiny-distilled_4xb256_in1k',
            {'teacher': 'clip-b16'},
            "'DistilledVisionTransformer' returns no feature maps",
        ),
        (
            SHAPES,
            {'teacher': 'clip-b61'},
            '--teacher clip-b61 is not a folder and none of .*Did you mean clip-b16',
        ),
        (SHAPES, {'teacher': 'ViT-B-32:openay'}, 'ViT-B-32 has the tags .*did you mean openai'),
        (SHAPES, {'teacher': 'hf-hub:a/b'}, 'is a repository: fetch it by `hf download a/b'),
        (SHAPES, {'teacher': 'transformers:llava'}, 'is a generative VLM, which needs a config'),
        (SHAPES, {'concepts': 'gone.txt'}, '--concepts gone.txt: there is no such file'),
        (SHAPES, {'concepts': 'mine.py'}, 'num_classes=20, but --concepts names'),
        (SHAPES, {'unlabelled': 'gone'}, '--unlabelled gone is not a folder'),
        (SHAPES, {'out': 'mine.py'}, '--out mine.py exists already'),
        (SHAPES, {'out': 'mine.txt'}, '--out mine.txt must be a .py file'),
        (
            SHAPES.replace(
                'train_pipeline = [', "train_pipeline = [dict(type='Normalize', mean=[0], std=[1]),"
            ),
            {},
            'has the step Normalize',
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(config, options, says, write, tmp_path):
    with pytest.raises(UsageError, match=says):
        write(config, **options)
    assert not list(tmp_path.glob('lfi_*'))
