"""`lfi pseudo-label` as a user runs it on a few images."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial

import cv2
import numpy as np
import pytest
from lfi.datasets import Shapes
from lfi.errors import UsageError
from mmengine.registry import DefaultScope
from picture_files import write_shapes
from PIL import Image

SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'
FILES = ('annotations.json', 'classes.txt', 'labels.txt', 'scores.csv', 'unreadable.txt')


@pytest.fixture
def photos(tmp_path):
    """Eight pictures of Shapes in two folders, one of nothing, and one that is truncated."""
    folder = tmp_path / 'photos'
    write_shapes('test', [folder / ('left out' if i % 2 else '.') / f'photo{i}.png' for i in range(8)])
    cv2.imwrite(str(folder / 'nothing.png'), np.full((64, 64, 3), 90, np.uint8))
    (folder / 'truncated.png').write_bytes((folder / 'photo0.png').read_bytes()[:1500])
    return folder


@pytest.fixture
def run_main(call_tool):
    return partial(call_tool, 'pseudo-label')


def contents(folder):
    return {name: (folder / name).read_bytes() for name in (*FILES, 'log.jsonl')}


def test_images_become_data_sets(run_tool, config_path, photos, tmp_path):
    from mmdet.datasets import CocoDataset
    from mmpretrain.datasets import CustomDataset

    out = run_tool('pseudo-label', config_path(SHAPES), photos, '--out', 'out', '--pictures', '3')
    assert '1 images cannot be read: unreadable.txt names them' in out
    folder, data = tmp_path / 'out', Shapes(split='test', num_images=8)
    assert (folder / 'unreadable.txt').read_text().startswith(f'{photos}/truncated.png: ')
    # What it prints can be written into a config.
    of_mmdet, of_mmpretrain = (
        eval(line.split(': ', 1)[1])
        for line in out.splitlines()
        if line.startswith(('mmdet: ', 'mmpretrain: '))
    )
    assert of_mmdet.pop('type') == 'CocoDataset' and of_mmpretrain.pop('type') == 'CustomDataset'
    with DefaultScope.overwrite_default_scope('mmdet'):
        coco = CocoDataset(
            **of_mmdet,
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            ],
        )
        loaded = {
            results['img_path'].split('/')[-1]: results for results in (coco[i] for i in range(len(coco)))
        }
    assert len(loaded) == 9 and len(loaded['nothing.png']['gt_bboxes']) == 0
    overlaps = []
    for i in range(8):
        found, info = loaded[f'photo{i}.png'], data.get_data_info(i)
        for mask, label in zip(found['gt_masks'].to_ndarray(), found['gt_bboxes_labels']):
            true = info['gt_masks'][info['gt_bboxes_labels'] == label].any(0)
            overlaps.append((mask & true).sum() / (mask | true).sum())
    assert len(overlaps) > 5 and np.mean(overlaps) > 0.5
    # This is the order of the files' paths.
    shown = CustomDataset(**of_mmpretrain, pipeline=[dict(type='LoadImageFromFile')])
    assert shown.metainfo['classes'] == tuple(Shapes.class_names())
    paths = [shown.get_data_info(i)['img_path'] for i in range(len(shown))]
    assert 4 < len(paths) <= 8 and not any('nothing' in path or 'truncated' in path for path in paths)
    right = [
        label in data.get_data_info(int(path[-5]))['gt_bboxes_labels']
        for path, label in zip(paths, shown.get_gt_labels())
    ]
    assert np.mean(right) > 0.7
    assert all(shown[i]['img'].shape == (64, 64, 3) for i in range(len(shown)))
    assert Image.open(folder / 'labels.png').width > 300


def test_a_run_that_was_stopped_ends_as_one_that_was_not(run_main, config_path, photos, tmp_path):
    command = (config_path(SHAPES), photos, '--batch-size', '3')
    run_main(*command, '--out', 'once')
    whole = contents(tmp_path / 'once')
    lines = whole['log.jsonl'].splitlines(keepends=True)
    assert len(lines) == 1 + 4
    for cut in (lines[0], b''.join(lines[:3]), b''.join(lines[:3]) + lines[3][:40]):
        (tmp_path / 'stopped').mkdir()
        (tmp_path / 'stopped/log.jsonl').write_bytes(cut)
        run_main(*command, '--out', 'stopped')
        assert contents(tmp_path / 'stopped') == whole
        shutil.rmtree(tmp_path / 'stopped')
    run_main(*command, '--out', 'once')
    assert contents(tmp_path / 'once') == whole


def test_images_that_come_later_are_added(run_main, config_path, photos, tmp_path):
    run_main(config_path(SHAPES), photos / 'left out', '--out', 'out')
    assert len(json.loads((tmp_path / 'out/annotations.json').read_text())['images']) == 4
    run_main(config_path(SHAPES), photos / 'left out', photos, '--out', 'out')
    written = json.loads((tmp_path / 'out/annotations.json').read_text())
    names = [image['file_name'] for image in written['images']]
    assert len(names) == len(set(names)) == 9 and names[0] == 'left out/photo1.png'
    assert written['info']['images'] == str(photos)


def test_a_name_is_of_one_image_wherever_it_is_typed(run_main, config_path, photos, tmp_path):
    run_main(config_path(SHAPES), 'photos/photo0.png', '--out', 'out')
    other = tmp_path / 'other/photos'
    other.mkdir(parents=True)
    cv2.imwrite(str(other / 'photo0.png'), np.full((64, 64, 3), 90, np.uint8))
    out = tmp_path / 'out'
    assert json.loads((out / 'annotations.json').read_text())['annotations']
    run_main(config_path(SHAPES), 'photos/photo0.png', '--out', out, folder=tmp_path / 'other')
    written = json.loads((out / 'annotations.json').read_text())
    assert written['info']['images'] == str(other) and written['annotations'] == []


def test_a_name_need_not_be_utf_8(run_main, config_path, photos, tmp_path):
    folder = tmp_path / 'names'
    folder.mkdir()
    names = [b'caf\xe9.png', 'größe.png'.encode()]
    for name in names:
        shutil.copy(photos / 'photo0.png', os.path.join(os.fsencode(folder), name))
    run_main(config_path(SHAPES), folder, '--out', 'out')
    written = json.loads((tmp_path / 'out/annotations.json').read_text())
    assert sorted(os.fsencode(image['file_name']) for image in written['images']) == sorted(names)
    lines = (tmp_path / 'out/labels.txt').read_bytes().splitlines()
    # mmpretrain reads lines of UTF-8, and none of them if one is not.
    assert [line.rsplit(b' ', 1)[0] for line in lines] == names[1:]
    left_out = (tmp_path / 'out/unreadable.txt').read_text()
    assert 'caf' in left_out and 'not in labels.txt' in left_out and 'gr' not in left_out


def test_a_student_labels_by_other_texts(run_main, small_training, photos, tmp_path):
    config, checkpoint = small_training()
    texts = ('red star', 'Größe "ß"')
    rules = ('--presence-threshold', '0', '--max-per-image', '1', '--min-area', '0', '--min-score', '0')
    run_main(config, photos, '--checkpoint', checkpoint, '--texts', *texts, '--out', 'out', *rules)
    assert (tmp_path / 'out/classes.txt').read_text().splitlines() == list(texts)
    written = json.loads((tmp_path / 'out/annotations.json').read_text())
    assert [category['name'] for category in written['categories']] == list(texts)
    # A presence of 0 is enough: every image shows both, and its best object is kept.
    assert len((tmp_path / 'out/scores.csv').read_text().splitlines()) == 1 + 2 * 9
    assert sorted(each['image_id'] for each in written['annotations']) == list(range(9))


def test_two_processes_share_the_work(run_tool, tool_env, config_path, photos, tmp_path):
    command = (config_path(SHAPES), photos, '--batch-size', '2')
    run_tool('pseudo-label', *command, '--out', 'alone')
    # The images that one process has labelled are not labelled again.
    run_tool('pseudo-label', command[0], photos / 'left out', '--batch-size', '2', '--out', 'shared')
    words = (
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc-per-node',
        '2',
        '-m',
        'lfi',
        'pseudo-label',
    )
    run = (*command, '--out', 'shared', '--launcher', 'pytorch')
    subprocess.run([sys.executable, *words, *map(str, run)], cwd=tmp_path, env=tool_env, check=True)
    logs = [(tmp_path / 'shared' / name).read_bytes() for name in ('log.jsonl', 'log-1.jsonl')]
    assert [log.count(b'"file"') for log in logs] == [4 + 4, 2]
    alone, shared = (
        json.loads((tmp_path / folder / 'annotations.json').read_text()) for folder in ('alone', 'shared')
    )
    assert alone['images'] == shared['images']
    for one, other in zip(alone['annotations'], shared['annotations'], strict=True):
        assert one['image_id'] == other['image_id'] and one['category_id'] == other['category_id']
        assert one['score'] == pytest.approx(other['score'], abs=1e-3)
    # One process alone reads the logs of both.
    before = contents(tmp_path / 'shared')
    run_tool('pseudo-label', *command, '--out', 'shared')
    assert contents(tmp_path / 'shared') == before


def test_a_folder_that_is_not_there_is_no_unreadable_image(run_main, config_path, photos, tmp_path):
    with pytest.raises(UsageError, match='fotos does not exist: give files or folders of images'):
        run_main(config_path(SHAPES), photos, 'fotos', '--out', 'out')
    assert not (tmp_path / 'out').exists()


def test_another_least_score_needs_no_new_answers(run_main, config_path, photos, tmp_path):
    command = (config_path(SHAPES), photos, '--out', 'out', '--min-score')
    counts = []
    for least in ('0', '0.6', '1', '0'):
        # What an earlier run wrote is written anew.
        run_main(*command, least, *(('--formats', 'yolo') if least == '0' else ()))
        written = json.loads((tmp_path / 'out/annotations.json').read_text())
        counts.append(len(written['annotations']))
        lines = [file.read_text().splitlines() for file in (tmp_path / 'out/yolo/labels').rglob('*.txt')]
        assert sum(map(len, lines)) == counts[-1] and len(lines) == 9
    assert counts[0] == counts[3] > counts[1] > counts[2] == 0
    # One line for the settings, and one for the batch of the first run.
    assert len((tmp_path / 'out/log.jsonl').read_text().splitlines()) == 2


def test_where_no_concept_is_present_nothing_is_labelled(run_main, config_path, photos, tmp_path):
    run_main(config_path(SHAPES), photos / 'nothing.png', '--out', 'out', '--pictures', '2')
    written = json.loads((tmp_path / 'out/annotations.json').read_text())
    assert len(written['images']) == 1 and written['annotations'] == []
    assert (tmp_path / 'out/labels.txt').read_text() == ''
    assert (tmp_path / 'out/labels.png').exists()


def test_what_cannot_be_done_says_why(run_main, config_path, small_training, photos, tmp_path):
    config = config_path(SHAPES)

    def refused(message, *args):
        with pytest.raises(UsageError, match=message):
            run_main(*args)

    run_main(config, photos, '--out', 'out')
    other = ('--mask-threshold', '0.5')
    refused(
        'log.jsonl was written with mask_threshold=0.3, and not 0.5', config, photos, '--out', 'out', *other
    )
    refused('was written with teacher=.*, and not', config, photos, '--out', 'out', '--texts', 'star')
    refused('mask_threshold=3.0 must lie in', config, photos, '--out', 'new', '--mask-threshold', '3')
    message = '--out photos/new lies in the input folder .*photos'
    refused(message, config, photos, '--out', 'photos/new')
    refused('checkpoint gone.pth does not exist', config, photos, '--out', 'new', '--checkpoint', 'gone.pth')
    refused('clip.mp4 is a video', config, 'clip.mp4', '--out', 'new')
    (tmp_path / 'empty').mkdir()
    refused('the folder empty holds no images', config, 'empty', '--out', 'new')
    control = config_path('baselines/task-loss_vit-128x6-p8_shapes.py')
    refused('the config has no model.teacher to ask', control, photos, '--out', 'new')
    training, checkpoint = small_training()
    narrow = ('--checkpoint', checkpoint, '--cfg-options', 'model.readout.text_dims=64')
    refused('training.pth do not fit the model', training, photos, '--out', 'new', *narrow)
    assert not (tmp_path / 'new').exists()
    (tmp_path / 'file').touch()
    refused('file/out/log.jsonl cannot be written: Not a directory', config, photos, '--out', 'file/out')
    message = 'none of the 1 images can be read: new/unreadable.txt says why'
    refused(message, config, photos / 'truncated.png', '--out', 'new')
