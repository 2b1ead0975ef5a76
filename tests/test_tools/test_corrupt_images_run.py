"""Corrupt images in the data of a user, from the cache to the test, with and without workers."""

import json
import re
import shutil

import pytest
from lfi.datasets import Shapes
from picture_files import write_shapes

BAD = ('cat/1.jpg', 'cat/3.jpg', 'dog/0.jpg')
CLASSIFIER = """
_base_ = {base!r}
model = dict(
    teacher=dict(concepts=['ring', 'star']),
    backbone=dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)),
    head=dict(in_channels=16, num_classes=2, loss=dict(num_classes=2)),
)
data_preprocessor = dict(num_classes=2)
load = dict(type='LoadImageFromFile')
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    dataset=dict(
        _delete_=True, type='CustomDataset', data_root='photos', pipeline=[load, *_base_.train_pipeline]
    ),
)
val_cfg = val_dataloader = val_evaluator = None
train_cfg = dict(max_epochs=2, val_interval=9)
"""
DETECTOR = """
_base_ = {base!r}
load = dict(_scope_='mmdet', type='LoadImageFromFile')
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='lfi.SemiSupervisedDataset',
        datasets=[
            dict(
                type='mmdet.CocoDataset',
                data_root='photos',
                ann_file='coco.json',
                data_prefix=dict(img=''),
                metainfo=dict(classes={classes!r}),
                pipeline=[load, *_base_.train_pipeline],
            ),
            dict(
                type='lfi.ImageFolder',
                data_root='more',
                pipeline=[
                    load,
                    dict(type='lfi.RecordView', transforms=[]),
                    dict(type='lfi.LoadInteractionMaps'),
                    _base_.train_pipeline[-1],
                ],
            ),
        ],
    ),
)
val_cfg = val_dataloader = val_evaluator = None
train_cfg = dict(max_epochs=1, val_interval=9)
model = dict(train_cfg=dict(rcnn=dict(sampler=dict(num=16))))
"""


def spoil(folder):
    """Truncate an image, empty one, and write text into one."""
    truncated, empty, text = (folder / name for name in BAD)
    truncated.write_bytes(truncated.read_bytes()[:900])
    empty.write_bytes(b'')
    text.write_text('no image')


@pytest.fixture
def photos(tmp_path):
    """Sixteen pictures of two classes, three of which cannot be read."""
    folder = tmp_path / 'photos'
    write_shapes('train', [folder / name / f'{i}.jpg' for name in ('cat', 'dog') for i in range(8)])
    spoil(folder)
    return folder


def listed(path):
    return sorted('/'.join(line.split('\t')[0].split('/')[-2:]) for line in path.read_text().splitlines())


def last_line(printed):
    assert 'Traceback' not in printed
    return printed.splitlines()[-1]


def test_a_config_of_openmmlab(run_tool, toy_config, toy_data, tmp_path):
    data = shutil.copytree(toy_data, tmp_path / 'data')
    for name in ('train/dark/dark_3.png', 'val/light/light_1.png', 'val/light/light_3.png'):
        (data / name).write_bytes((data / name).read_bytes()[:300])
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    options = [f'{loader}.num_workers=2' for loader in loaders]
    options += [f'{loader}.dataset.data_root={data}' for loader in loaders]
    config = [toy_config, '--no-validate', '--cfg-options', *options]
    printed = run_tool('train.py', *config)
    (warning,) = (line for line in printed.splitlines() if 'this image cannot be read' in line)
    assert 'dark_3.png' in warning and warning.endswith('; left out, 1 so far')
    assert re.search(r'1 images cannot be read, and were left out: .*unreadable.txt lists them', printed)

    error = last_line(run_tool('train.py', *config, 'max_unreadable=0', code=1))
    assert re.match(r'error: .*/dark_3.png: this image cannot be read \(OSError: .*\).* Replace', error)
    arguments = ('--cfg-options', *options)
    error = last_line(run_tool('test.py', toy_config, 'work/epoch_2.pth', *arguments, code=1))
    assert re.match(r'error: .*/light_[13].png: this image cannot be read .* no image is left out', error)
    assert re.search(r'; nor can 1 more, among them .*/light_[13].png: .*/unreadable.txt lists all', error)


def test_a_folder_of_classes_and_its_cache(run_tool, config_path, photos, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(CLASSIFIER.format(base=str(config_path('classification/lfi_vit-128x6-p8_shapes.py'))))
    cache = ['cache', config, '--out', 'cache', '--num-workers']
    printed = run_tool(*cache, 2)
    assert 'maps of 13 of 16 images' in printed
    assert '3 unreadable images have no maps: cache/unreadable.txt lists them' in printed
    assert all(printed.count(name) == 1 for name in BAD)
    assert listed(tmp_path / 'cache/unreadable.txt') == [*BAD]
    assert '13 images were compared with the teacher' in run_tool(*cache, 2, '--verify')

    train = ['train.py', config, '--work-dir', 'work', '--cfg-options', 'model.teacher.cache=cache']
    assert '3 images cannot be read, and were left out' in run_tool(*train)
    (found,) = tmp_path.glob('work/*/unreadable.txt')
    assert listed(found) == [*BAD]

    # What can be read by now has no maps yet.
    for name in BAD:
        shutil.copy(photos / 'cat/0.jpg', photos / name)
    error = last_line(run_tool(*train, code=1))
    assert re.match(r'error: cache has no maps of photos/\S+: it could not be read when', error)
    assert 'unreadable' not in run_tool(*cache, 0) and not (tmp_path / 'cache/unreadable.txt').exists()
    assert 'cannot be read' not in run_tool(*train)


def test_a_data_set_that_is_mostly_broken(run_tool, config_path, photos, tmp_path):
    write_shapes('train', [photos / f'cat/{i}.jpg' for i in range(60)])
    for i in range(25):
        (photos / f'cat/{i}.jpg').write_bytes(b'')
    config = tmp_path / 'config.py'
    config.write_text(CLASSIFIER.format(base=str(config_path('classification/lfi_vit-128x6-p8_shapes.py'))))
    error = last_line(run_tool('train.py', config, code=1))
    assert re.match(r'error: photos/?: 20 of the \d+ checked images cannot be read, and max_unread', error)
    error = last_line(run_tool('cache', config, '--out', 'cache', code=1))
    assert re.match(r'error: photos/?: 20 of the \d+ checked images cannot be read, and max_unread', error)
    allowed = ('--cfg-options', 'max_unreadable=0.5')
    assert '26 unreadable images' in run_tool('cache', config, '--out', 'cache', *allowed)
    for path in photos.rglob('*.jpg'):
        path.write_bytes(b'')
    error = last_line(run_tool('cache', config, '--out', 'new', code=1))
    assert re.match(r'error: photos/?: none of the 68 images can be read', error)


def test_objects_and_a_folder_beside_them(run_tool, config_path, photos, tmp_path):
    shutil.copytree(photos, tmp_path / 'more')
    names = sorted('/'.join(path.parts[-2:]) for path in photos.rglob('*.jpg'))
    classes = tuple(Shapes('train', num_images=1).class_names())
    objects = dict(
        images=[dict(id=i, file_name=name, height=64, width=64) for i, name in enumerate(names)],
        annotations=[
            dict(id=i, image_id=i, category_id=1, bbox=[8, 8, 30, 30], area=900, iscrowd=0)
            | dict(segmentation=[[8, 8, 38, 8, 38, 38, 8, 38]])
            for i in range(len(names))
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(classes, start=1)],
    )
    (photos / 'coco.json').write_text(json.dumps(objects))
    config = tmp_path / 'config.py'
    base = str(config_path('detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'))
    config.write_text(DETECTOR.format(base=base, classes=classes))
    printed = run_tool('cache', config, '--out', 'cache', '--num-workers', 2)
    assert 'maps of 26 of 32 images' in printed and '6 unreadable images have no maps' in printed
    options = ['--cfg-options', 'model.teacher.cache=cache', 'train_dataloader.drop_last=False']
    assert '6 images cannot be read' in run_tool('train.py', config, '--work-dir', 'work', *options)
