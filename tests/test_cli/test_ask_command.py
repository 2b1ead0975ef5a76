"""`lfi ask`: where a teacher sees texts."""

import json
import re
import shlex
from functools import partial
from pathlib import Path

import cv2
import lfi.models.teachers
import mmcv
import pytest
import torch
from lfi.apis import teacher_answers
from lfi.datasets import Shapes
from lfi.errors import UsageError
from lfi.structures import TeacherReading

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(lfi.models.teachers.__file__).parent / 'built_in/shapes-tiny'


@pytest.fixture
def circle_photo(tmp_path):
    """A picture of a blue circle."""
    image = Shapes(split='val', num_images=1).get_data_info(0)
    assert image['caption'] == 'a large shaded blue circle, photo'
    cv2.imwrite(str(tmp_path / 'photo.png'), image['img'])
    return tmp_path / 'photo.png'


@pytest.fixture
def run_main(call_tool, circle_photo):
    return partial(call_tool, 'ask')


def record_in(folder: Path) -> dict:
    (record,) = json.loads((folder / 'predictions.json').read_text())
    return record


def test_a_photo_gives_a_picture_and_a_record(run_main, tmp_path):
    out = run_main('photo.png', '--texts', 'circle', 'star', '--teacher', 'shapes-tiny')
    assert '1 pictures and predictions.json in work_dirs/asked' in out
    assert out.endswith('Next:\n  lfi init PHOTOS --teacher shapes-tiny\n')
    folder = tmp_path / 'work_dirs/asked'
    record = record_in(folder)
    assert list(record['texts']) == ['circle', 'star']
    assert record['texts']['circle'] > record['texts']['star']
    # The image and two maps in a row; no prediction beside them.
    height, width, _ = mmcv.imread(folder / record['picture']).shape
    assert 2 * height < width < 3 * height
    assert set(record) == {'image', 'size', 'texts', 'picture'}


def test_the_commands_of_the_first_section_end_in_a_heat_map(run_main, tmp_path):
    """All but the last set up what these tests run in; and the last asks a teacher that is here."""
    section = (ROOT / 'docs/get_started.md').read_text().split('## ')[1]
    commands = re.search(r'```bash\n(.*?)```', section, re.S)[1].splitlines()
    words = shlex.split(commands[-1], comments=True)
    assert words[:3] == ['lfi', 'ask', 'photo.jpg']
    cv2.imwrite(str(tmp_path / 'photo.jpg'), cv2.imread(str(tmp_path / 'photo.png')))
    run_main(*words[2:], '--teacher', 'shapes-tiny')
    record = record_in(tmp_path / 'work_dirs/asked')
    assert (
        list(record['texts']) == ['dog', 'grass']
        and (tmp_path / 'work_dirs/asked' / record['picture']).exists()
    )


@pytest.mark.parametrize('reading', ['concept_softmax', 'logits'])
def test_a_map_is_strongest_on_what_is_asked_for(circle_photo, reading):
    reader = teacher_answers.build_reader('shapes-tiny', ['circle', 'star'])
    if reading == 'logits':
        reader.reading = TeacherReading(spatial_reading='logits')
    (result,) = teacher_answers.teacher_results(reader, [str(circle_photo)], 1, [])
    assert result.maps.min() >= 0 and torch.allclose(result.maps.sum((-2, -1)), torch.ones(2))
    y, x = divmod(int(result.maps_on_image()[0].argmax()), 64)
    assert Shapes(split='val', num_images=1).get_data_info(0)['gt_masks'][0, y, x]


def test_a_folder_is_a_teacher_and_one_text_is_enough(run_main, tmp_path):
    run_main(
        'photo.png', '--texts', 'circle', '--teacher', FOLDER, '--templates', 'a {}', '--out-dir', 'seen'
    )
    assert 0 < record_in(tmp_path / 'seen')['texts']['circle'] < 1


@pytest.mark.parametrize(
    ('photo', 'args', 'message'),
    [
        ('photo.png', ('--teacher', 'clip-b61'), 'none of clip-b16, .* Did you mean clip-b16.*MODEL:TAG'),
        ('photo.png', ('--teacher', 'ViT-B-17:openai'), '--teacher ViT-B-17:openai: .*ViT-B-17'),
        ('photo.png', ('--teacher', 'shapes-tiny', '--templates', 'a photo'), 'templates must be strings'),
        (
            'photo.png',
            ('--teacher', 'shapes-tiny', '--input-size', '13'),
            r'(?!.*teacher\.input_size).*Set --input-size 16',
        ),
        ('broken.png', ('--teacher', 'shapes-tiny'), 'no input could be read: broken.png'),
        ('missing.png', ('--teacher', 'shapes-tiny'), 'missing.png'),
        ('empty', ('--teacher', 'shapes-tiny'), 'the folder empty holds no images'),
        (
            'photo.png',
            ('--teacher', 'shapes-tiny', '--device', 'cuda:99'),
            "device='cuda:99' cannot be used: ",
        ),
        (
            'photo.png',
            ('--teacher', 'shapes-tiny', '--out-dir', 'photo.png'),
            '--out-dir: the folder photo.png cannot be',
        ),
    ],
)
def test_what_cannot_be_done_says_why(run_main, tmp_path, photo, args, message):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken.png').write_bytes((tmp_path / 'photo.png').read_bytes()[:1500])
    with pytest.raises(UsageError, match=message):
        run_main(photo, '--texts', 'circle', *args)


def test_a_text_of_the_background_says_where_the_background_comes_from(run_main):
    message = r"texts has \['Background'\], which shapes-tiny's own config has as background"
    with pytest.raises(UsageError, match=message):
        run_main('photo.png', '--texts', 'circle', 'Background', '--teacher', 'shapes-tiny')


def test_an_answer_about_a_text_does_not_depend_on_the_other_texts(circle_photo):
    def presence(*texts):
        reader = teacher_answers.build_reader(str(FOLDER), texts, templates=['a {}'])
        assert reader.teacher.presence_kind == 'against names of ImageNet, concept by concept'
        (result,) = teacher_answers.teacher_results(reader, [str(circle_photo)], 1, [])
        return result.presence

    alone = presence('circle')
    assert 0 < alone < 1
    torch.testing.assert_close(presence('star', 'circle', 'blue circle')[1:2], alone)


def test_weights_that_cannot_be_fetched_are_given_as_a_folder(run_main, monkeypatch):
    def no_network(*args, **options):
        raise OSError('no route to host')

    monkeypatch.setattr('open_clip.factory.download_pretrained', no_network)
    with pytest.raises(UsageError, match='no route to host.* folder .* as --teacher') as error:
        run_main('photo.png', '--texts', 'circle', '--teacher', 'ViT-B-32:laion2b_s34b_b79k')
    assert 'weights_file' not in str(error.value)
