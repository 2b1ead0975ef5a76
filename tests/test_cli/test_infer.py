"""`lfi infer`: pictures and predictions of a student's files."""

import json
import os
import shutil
from argparse import Namespace
from functools import partial
from pathlib import Path

import cv2
import lfi
import mmcv
import numpy as np
import pytest
import torch
from lfi.apis import interaction_inferencer
from lfi.apis.drawing import draw_result
from lfi.apis.interaction_result import InteractionResult
from lfi.apis.result_files import join_pictures, write_results
from lfi.cli.infer import build_teacher_reader
from lfi.engine.launch import load_run_config
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement
from picture_files import write_shapes


@pytest.fixture
def photos(tmp_path):
    """Three pictures of Shapes, and one that is truncated."""
    folder = tmp_path / 'photos'
    write_shapes('val', [folder / f'photo{i}.png' for i in range(3)])
    (folder / 'truncated.png').write_bytes((folder / 'photo0.png').read_bytes()[:1500])
    return folder


@pytest.fixture
def run_main(call_tool):
    return partial(call_tool, 'infer')


def records_in(folder: Path) -> list[dict]:
    return json.loads((folder / 'predictions.json').read_text())


def test_a_planted_link_leads_to_no_file_of_others(tmp_path):
    mine, out = tmp_path / 'mine', tmp_path / 'out'
    mine.write_text('mine')
    out.mkdir()
    for name in ('00000_a.png', 'joined.mp4'):
        (out / name).symlink_to(mine)
    image = np.zeros((8, 8, 3), np.uint8)
    results = [InteractionResult('a.jpg', None, image, BaseDataElement(), (), *[torch.zeros(0)] * 3)]
    counts = dict(classes=(), skipped=(), frame_stride=1)
    write_results(results, lambda _: image, inputs=['a.jpg'], out_dir=str(out), **counts)
    join_pictures([out / '00000_a.png'], out / 'joined.mp4', 1)
    assert mine.read_text() == 'mine' and mmcv.imread(out / '00000_a.png').shape == image.shape


def test_a_folder_gives_a_picture_and_a_record_for_each_image(run_tool, small_training, photos, tmp_path):
    texts = ['red star', 'Größe "ß"']
    out = run_tool('infer', *small_training(), photos, '--out-dir', 'seen', '--texts', *texts)
    assert f'3 pictures and predictions.json in seen; skipped: {photos / "truncated.png"}' in out
    assert f'{photos / "truncated.png"}: this image cannot be read' in out
    assert out.splitlines()[-1].startswith('  lfi export ') and out.endswith('/export/student.pth\n')
    records = records_in(tmp_path / 'seen')
    assert [record['image'] for record in records] == [str(photos / f'photo{i}.png') for i in range(3)]
    names = [f'0000{i}_photo{i}.png' for i in range(3)]
    assert [record['picture'] for record in records] == names
    assert sorted(file.name for file in (tmp_path / 'seen').iterdir()) == [*names, 'predictions.json']
    for record in records:
        assert record['size'] == [64, 64] and list(record['texts']) == texts
        assert len(record['classes']) == 5 and record['classes'][0]['class'] in 'abcdefghijklmnopqrst'
        assert record['classes'][0]['score'] == round(record['classes'][0]['score'], 4)
        # The image and two maps in a row.
        height, width, _ = mmcv.imread(tmp_path / 'seen' / record['picture']).shape
        assert 2 * height < width < 3 * height
    one = (photos / 'photo1.png', '--out-dir', 'seen', '--texts', *texts)
    assert 'seen also has 3 older pictures' in run_tool('infer', *small_training(), *one)


def test_any_name_of_a_file_will_do(run_main, small_training, photos, tmp_path):
    folder = os.fsencode(tmp_path / 'names')
    os.mkdir(folder)
    names = [b'caf\xe9.png', b'a' * 251 + b'.png']
    for name in names:
        shutil.copy(photos / 'photo0.png', os.path.join(folder, name))
    with open(os.path.join(folder, b'broken\xe9.png'), 'wb') as file:
        file.write(b'no image')
    out = run_main(*small_training(), tmp_path / 'names', '--out-dir', 'seen', '--texts', 'star')
    records = records_in(tmp_path / 'seen')
    assert sorted(os.path.basename(os.fsencode(record['image'])) for record in records) == sorted(names)
    assert all((tmp_path / 'seen' / record['picture']).is_file() for record in records)
    assert 'broken\\udce9.png' in out


def test_what_is_done_is_kept_when_it_ends_early(run_main, small_training, photos, tmp_path, monkeypatch):
    drawn = []

    def draw_one(*args):
        drawn.append(args)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw_result(*args)

    monkeypatch.setattr(interaction_inferencer, 'draw_result', draw_one)
    with pytest.raises(KeyboardInterrupt):
        run_main(*small_training(), photos, '--texts', 'ring', '--out-dir', tmp_path / 'seen')
    found = records_in(tmp_path / 'seen')
    assert [record['picture'] for record in found] == ['00000_photo0.png', '00001_photo1.png']


def test_the_teacher_answers_below_the_student(run_main, small_training, photos, tmp_path):
    def picture(*args):
        run_main(
            *small_training(), photos / 'photo0.png', '--texts', 'star', 'ring', '--out-dir', 'seen', *args
        )
        return mmcv.imread(tmp_path / 'seen/00000_photo0.png')

    alone, both = picture(), picture('--with-teacher')
    height = len(alone)
    assert both.shape == (2 * height, *alone.shape[1:])
    np.testing.assert_array_equal(both[:height], alone)
    # The image is the same, and the maps are not.
    assert (both[height:] != alone).any()
    with pytest.raises(UsageError, match='--with-teacher: there is no text to ask about: give --texts'):
        build_teacher_reader(Config(dict(model=dict(teacher=dict(model='a')))), (), Namespace())
    with pytest.raises(UsageError, match='--with-teacher: there is no model.teacher in the config'):
        build_teacher_reader(Config(dict(model=dict())), ['star'], Namespace())


def test_without_texts_it_looks_for_the_classes(run_main, small_training, photos, tmp_path):
    run_main(*small_training(), photos / 'photo1.png', '--out-dir', 'seen', '--batch-size', '2')
    (record,) = records_in(tmp_path / 'seen')
    assert len(record['texts']) == 20 and 'star' in record['texts']


def test_a_video_gives_its_frames_and_a_video(run_main, small_training, photos, tmp_path):
    clip = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 64))
    if not writer.isOpened():
        pytest.skip('OpenCV cannot write a video here')
    for i in range(5):
        writer.write(np.full((64, 64, 3), 40 * i, np.uint8))
    writer.release()
    inputs = (photos / 'photo0.png', clip)
    run_main(
        *small_training(),
        *inputs,
        '--out-dir',
        'seen',
        '--frame-stride',
        '2',
        '--texts',
        'star',
        'ring',
    )
    records = records_in(tmp_path / 'seen')
    assert [record.get('frame') for record in records] == [None, 0, 2, 4]
    assert records[2]['picture'] == '00002_clip_000002.png'
    joined = mmcv.VideoReader(str(tmp_path / 'seen/00001_clip_000000.mp4'))
    assert len(joined) == 3 and joined.fps == 5
    height, width, _ = mmcv.imread(tmp_path / 'seen/00001_clip_000000.png').shape
    assert joined.resolution == (width // 2 * 2, height // 2 * 2)


def test_a_detector_names_its_objects(run_main, config_path, photos, tmp_path):
    config, checkpoint = (
        config_path('detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'),
        tmp_path / 'detector.pth',
    )
    cfg = Config.fromfile(config)
    init_default_scope('mmdet')
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), checkpoint)
    run_main(config, checkpoint, photos / 'photo0.png', '--out-dir', 'seen', '--texts', 'star')
    (record,) = records_in(tmp_path / 'seen')
    assert 0 < len(record['objects']) <= 20
    assert set(record['objects'][0]) == {'class', 'score', 'box'} and list(record['texts']) == ['star']


def test_what_cannot_be_done_says_why(run_main, small_training, photos):
    config, checkpoint = small_training()
    out = ('--out-dir', 'seen')
    with pytest.raises(UsageError, match='checkpoint missing.pth does not exist'):
        run_main(config, 'missing.pth', photos, *out)
    with pytest.raises(UsageError, match='--out-dir photos/seen lies in the input folder .*photos'):
        run_main(config, checkpoint, photos, '--out-dir', 'photos/seen')
    with pytest.raises(UsageError, match='no input could be read: .*truncated.png'):
        run_main(config, checkpoint, photos / 'truncated.png', *out)
    with pytest.raises(UsageError, match='templates must be strings with {}'):
        run_main(config, checkpoint, photos, *out, '--texts', 'star', '--templates', 'a photo')
    control, weights = small_training('baselines/task-loss_vit-128x6-p8_shapes.py')
    with pytest.raises(UsageError, match='ImageClassifier has no read-out'):
        run_main(control, weights, photos, *out, '--texts', 'star')


def test_a_students_folder_is_config_and_checkpoint(run_main, small_training, photos, tmp_path):
    config, checkpoint = small_training()
    folder = lfi.save_pretrained(checkpoint, tmp_path / 'student', config=config)
    for name, subject in (('run', (config, checkpoint)), ('folder', (folder, folder))):
        run_main(*subject, photos, '--texts', 'star', '--out-dir', name)
    assert records_in(tmp_path / 'folder') == records_in(tmp_path / 'run')
    with pytest.raises(UsageError, match='student is a saved student, which has no data sets'):
        load_run_config(Namespace(config=str(folder)))
