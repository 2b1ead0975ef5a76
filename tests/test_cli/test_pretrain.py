"""A backbone is pretrained on a folder by the tools, and mmpretrain's own classifier begins with it."""

import re
import shutil

import numpy as np
import pytest
import torch
from lfi.engine import safe_checkpoint_loading
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from mmengine.registry import DefaultScope
from mmpretrain import get_model
from mmpretrain.models.classifiers import ImageClassifier
from picture_files import write_shapes
from PIL import Image
from small_data_sets import write_class_folders

CONFIG = 'pretraining/lfi-pretrain_vit-small-p16_clip-b16_folder.py'
PROBED = 'pretraining/lfi-pretrain_vit-small-p16_clip-b16_folder-probed.py'
# A small student at 64 pixels, and the built-in teacher.
SMALL = [
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=4',
    'train_dataloader.num_workers=0',
    'default_hooks.logger.interval=1',
    'model.backbone.arch=deit-tiny',
    'model.backbone.img_size=64',
    'train_dataloader.dataset.pipeline.1.transforms.0.scale=64',
    'model.teacher.model=shapes-tiny',
    'model.teacher.pretrained=None',
    'model.teacher.extractor=dense',
    'model.teacher.templates=["{}"]',
    'model.teacher.concepts=["ring","star","moon","heart","cross"]',
    'model.teacher.max_concepts=3',
]


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Ten pictures of Shapes at two depths, and one that is no image."""
    folder = tmp_path_factory.mktemp('data') / 'photos'
    files = [folder / ('' if i % 2 else 'more/deeper') / f'{i}.png' for i in range(10)]
    write_shapes('train', files, seed=3)
    (folder / 'more/broken.jpg').write_bytes(b'no image')
    return folder


def losses(printed):
    steps = [line for line in printed.splitlines() if 'Epoch(train)' in line]
    found = [dict(re.findall(r'(loss_\w+): ([\d.]+)', line)) for line in steps]
    assert found and all(set(step) == {'loss_spatial', 'loss_semantic', 'loss_presence'} for step in found)
    return [{name: float(value) for name, value in step.items()} for step in found]


def test_from_a_folder_to_a_classifier(run_tool, config_path, photos, tmp_path):
    # One of its files changes.
    photos = shutil.copytree(photos, tmp_path / 'photos')
    options = ['--cfg-options', f'data_root={photos}', *SMALL]
    online = run_tool('train.py', config_path(CONFIG), '--work-dir', 'online', *options)
    # 11 files in batches of 4, of which the last is smaller.
    assert len(losses(online)) == 3
    assert 'Epoch(val)' not in online

    wrote = run_tool('cache', config_path(CONFIG), '--out', 'cache', '--num-workers', '0', *options)
    assert 'maps of 10 of 11 images' in wrote and '1 unreadable images have no maps' in wrote
    options.append('model.teacher.cache=cache')
    cached = run_tool('train.py', config_path(CONFIG), '--work-dir', 'cached', *options)
    # The views are the same, and the maps but for their rounding and what a crop's edge shows.
    for ours, theirs in zip(losses(cached), losses(online), strict=True):
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=0.3), name

    # Of an image that can be read by now the maps are made up for.
    shutil.copy(next(photos.rglob('*.png')), photos / 'more/broken.jpg')
    again = run_tool('cache', config_path(CONFIG), '--out', 'cache', '--num-workers', '0', *options[:-1])
    assert 'maps of 11 images' in again and 'unreadable' not in again

    checkpoint = tmp_path / 'cached/epoch_1.pth'
    saved = torch.load(checkpoint, weights_only=False)['state_dict']
    assert {name.partition('.')[0] for name in saved} == {'backbone', 'readout'}
    # MMEngine 0.10.7 reads no checkpoint of its own with torch 2.6 or newer.
    with DefaultScope.overwrite_default_scope('mmpretrain'), safe_checkpoint_loading():
        classifier = ImageClassifier(
            backbone=dict(
                type='VisionTransformer',
                arch='deit-tiny',
                img_size=64,
                out_type='avg_featmap',
                final_norm=False,
                init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint), prefix='backbone.'),
            ),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=192),
        )
        classifier.init_weights()
    for name, value in classifier.backbone.state_dict().items():
        assert value.equal(saved[f'backbone.{name}']), name

    # And the plain backbone by itself, without LFI.
    run_tool('export', config_path(CONFIG), checkpoint, 'plain.pth', *options)
    assert 'lfi' not in (tmp_path / 'plain.py').read_text()
    plain = get_model(str(tmp_path / 'plain.py'), pretrained=str(tmp_path / 'plain.pth')).eval()
    images = torch.randn(2, 3, 64, 64)
    assert plain(images)[0].equal(classifier.eval().extract_feat(images)[0])


def test_features_are_measured_on_a_labelled_folder(run_tool, config_path, photos, tmp_path):
    for name in ('dark', 'light'):
        (tmp_path / f'labelled/{name}').mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(i).integers(0, 60, (64, 64, 3)) + (190 if name == 'light' else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f'labelled/{name}/{i}.png')
    roots = [f'data_root={photos}', f'labelled_root={tmp_path}/labelled']
    small = [
        *SMALL,
        'train_cfg.val_interval=1',
        'val_dataloader.num_workers=0',
        'test_dataloader.num_workers=0',
    ]
    size = [f'{loader}.dataset.pipeline.2.crop_size=64' for loader in ('val_dataloader', 'test_dataloader')]
    given = ['--labelled', tmp_path / 'labelled', '--work-dir', 'work', '--cfg-options', *small, *size]
    printed = run_tool('pretrain', photos, *given)
    (validated,) = re.findall(r'Epoch\(val\) \[1\].*knn/top1: ([\d.]+) +linear/top1: ([\d.]+)', printed)
    # Light and dark are told apart by any features.
    assert float(validated[1]) == 100
    options = ['--cfg-options', *roots, *small, *size]
    tested = run_tool('test.py', config_path(PROBED), tmp_path / 'work/epoch_1.pth', *options)
    assert re.findall(r'knn/top1: ([\d.]+) +linear/top1: ([\d.]+)', tested)[-1] == validated


def test_options_name_backbone_teacher_and_concepts(run_tool, call_tool, photos, tmp_path):
    (tmp_path / 'texts.txt').write_text('red_circle\nblue star\ngreen ring\n')
    options = ('--teacher', 'shapes-tiny', '--concepts', 'texts.txt', '--epochs', 1, '--batch-size', 4)
    labelled = write_class_folders(tmp_path / 'labelled')
    given = ('--work-dir', 'work', '--cfg-options', 'default_hooks.logger.interval=1')
    given = ('--labelled', 'labelled', *given)
    printed = run_tool('pretrain', photos, '--backbone', 'resnet18', *options, *given)
    assert len(losses(printed)) == 3
    assert re.search(r'Epoch\(val\) \[1\].*knn/top1: [\d.]+ +linear/top1: [\d.]+', printed)
    assert load_config(str(tmp_path / 'work/lfi_pretrain.py')).labelled_root == str(labelled)
    written = (tmp_path / 'work/config/lfi_pretrain.py').read_text()
    assert "'red circle', 'blue star', 'green ring'" in written and 'depth=18' in written
    # The built-in teacher has a background.
    assert "presence='best-location'" in written
    assert (tmp_path / 'work/epoch_1.pth').is_file()
    with pytest.raises(UsageError, match='--config .* is a config, and --epochs writes one'):
        call_tool('pretrain', photos, '--config', 'lfi-pretrain_vit-128x6-p8_shapes', '--epochs', '1')
    assert printed.partition('Next:\n')[2].splitlines()[0] == (
        '  lfi init labelled --teacher shapes-tiny --model resnet18 --weights work/epoch_1.pth'
    )
    with pytest.raises(
        UsageError, match='--labelled empty has 0 folders with images, and needs one for each'
    ):
        (tmp_path / 'empty').mkdir()
        call_tool('pretrain', photos, '--labelled', 'empty', '--epochs', '1')
    with pytest.raises(UsageError, match='--backbone resnet19 is no model of mmpretrain or timm'):
        call_tool('pretrain', photos, '--backbone', 'resnet19')
    with pytest.raises(UsageError, match='--epochs writes a config, which several processes cannot share'):
        call_tool('pretrain', photos, '--epochs', '1', '--launcher', 'pytorch')


def test_a_config_that_measures_on_no_labelled_folder_is_refused(call_tool, tmp_path):
    config = 'lfi-pretrain_resnet50_clip-b16_folder'
    with pytest.raises(UsageError, match=rf'--labelled .*{config}.py has no labelled_root. Let it inherit'):
        call_tool('pretrain', tmp_path, '--labelled', tmp_path, '--config', config)
