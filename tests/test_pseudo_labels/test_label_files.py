"""Files to records: what is asked, once, in which batches."""

import re

import cv2
import numpy as np
import pytest
from lfi.apis import list_sources
from lfi.apis.image_pipeline import UnfitImageError
from lfi.pseudo_labels import LabelLog, LabelRules, label_image
from lfi.pseudo_labels.label_files import label_files, read_image, unlabelled_sources

RULES = LabelRules(presence_threshold=0.3, min_area=0)
SETTINGS = dict(by='a test')


@pytest.fixture
def reader(make_answers):
    """Answers that depend on an image's pixels; it notes the sizes of batches, and stops at one."""

    class Reader:
        batches, stop_at = [], None

        def __call__(self, images):
            if len(self.batches) == self.stop_at:
                raise KeyboardInterrupt
            self.batches.append(len(images))
            return [make_answers(int(image.sum()) % 1000) for image in images]

    reader = Reader()
    reader.batches = []
    return reader


def run(reader, photos, path, size=3):
    log = LabelLog(path, SETTINGS)
    try:
        return log, list(label_files(reader, unlabelled_sources(list_sources(photos), log), RULES, log, size))
    finally:
        log.close()


def test_each_file_gets_the_labels_of_its_image(reader, photos, tmp_path, make_answers):
    log, counts = run(reader, photos, tmp_path / 'log.jsonl')
    assert counts == [3, 3, 1]
    files = [source.name for source in list_sources(photos)]
    for file in files:
        if file.endswith('.jpg'):
            continue
        image = cv2.imread(file)
        expected = label_image(make_answers(int(image.sum()) % 1000), image.shape[:2], RULES)
        assert log[file]['presence'] == [[c, p] for c, p in expected.presence.items()]
        assert log[file]['objects'] == [vars(found) for found in expected.objects]
        assert log[file]['size'] == [64, 64]
    assert sum(bool(log[f].get('objects')) for f in files) > 3


def test_an_unreadable_file_is_noted_and_the_others_are_asked(reader, photos, tmp_path):
    log, _ = run(reader, photos, tmp_path / 'log.jsonl')
    record = log[str(photos / 'broken.jpg')]
    assert record == dict(file=str(photos / 'broken.jpg'), error='cannot identify image file', bytes=8)
    assert sum(reader.batches) == 6
    (photos / 'more').mkdir()
    for i in range(3):
        (photos / f'more/{i}.png').write_bytes(b'')
    before = len(reader.batches)
    run(reader, photos / 'more', tmp_path / 'log.jsonl')
    assert len(reader.batches) == before, 'nobody is asked about no image'


def test_an_image_that_the_model_cannot_take_is_noted_and_its_batch_is_asked(
    reader, photos, tmp_path, make_answers
):
    paths = [source.name for source in list_sources(photos) if source.name.endswith('.png')]
    unfit = cv2.imread(paths[1])

    def picky(images):
        if any(np.array_equal(image, unfit) for image in images):
            raise UnfitImageError('too thin')
        return reader(images)

    log, _ = run(picky, photos, tmp_path / 'log.jsonl')
    plain, _ = run(reader, photos, tmp_path / 'plain.jsonl')
    assert log[paths[1]]['error'] == 'too thin' and 'presence' not in log[paths[1]]
    assert all(log[path] == plain[path] for path in paths if path != paths[1])


@pytest.mark.parametrize('stop_at', [0, 1, 2])
def test_after_a_stop_it_is_byte_for_byte_what_it_would_have_been(reader, photos, tmp_path, stop_at):
    run(reader, photos, tmp_path / 'once.jsonl', size=2)
    once = reader.batches
    reader.batches, reader.stop_at = [], stop_at
    with pytest.raises(KeyboardInterrupt):
        run(reader, photos, tmp_path / 'twice.jsonl', size=2)
    reader.stop_at = None
    run(reader, photos, tmp_path / 'twice.jsonl', size=2)
    assert reader.batches == once
    assert (tmp_path / 'twice.jsonl').read_bytes() == (tmp_path / 'once.jsonl').read_bytes()
    _, counts = run(reader, photos, tmp_path / 'twice.jsonl', size=2)
    assert counts == [] and reader.batches == once


def test_an_image_that_was_replaced_is_asked_about_again(reader, photos, tmp_path):
    run(reader, photos, tmp_path / 'log.jsonl')
    reader.batches = []
    image = np.full((80, 60, 3), 7, np.uint8)
    cv2.imwrite(str(photos / 'photo 0.png'), image)
    cv2.imwrite(str(photos / 'broken.jpg'), image)
    log, counts = run(reader, photos, tmp_path / 'log.jsonl')
    assert counts == [2] and reader.batches == [2]
    assert log[str(photos / 'photo 0.png')]['size'] == log[str(photos / 'broken.jpg')]['size'] == [80, 60]
    assert run(reader, photos, tmp_path / 'log.jsonl')[1] == []


def test_an_image_is_read_as_data_sets_read_it(photos):
    for source in list_sources(photos):
        if source.name.endswith('.png'):
            np.testing.assert_array_equal(read_image(source), cv2.imread(source.name))
    with pytest.raises(OSError, match=re.escape('broken.jpg: this image cannot be read')):
        read_image(list_sources(photos / 'broken.jpg')[0])
