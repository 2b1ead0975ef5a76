import pytest
from lfi.unreadable import Counts, Unreadable, UnreadableImageError, UnreadableList, refuse_too_many

LATEST = Unreadable('b/3.jpg', 'the file is empty')


def refused(bad, seen, total, max_share=0.1, denominator=None):
    counts = Counts(bad, seen, total, denominator or seen)
    others = [f'a/{i}.jpg' for i in range(bad - 1)]
    with pytest.raises(UnreadableImageError) as error:
        refuse_too_many(counts, max_share, LATEST, others, 'photos')
    return str(error.value)


@pytest.mark.parametrize(
    ('bad', 'seen', 'max_share'), [(19, 19, 0.1), (20, 200, 0.1), (30, 40, 1), (1, 1, 0.1)]
)
def test_few_are_allowed(bad, seen, max_share):
    refuse_too_many(Counts(bad, seen, 500, seen), max_share, LATEST, ['a.jpg'], 'photos')


def test_too_many_are_counted_and_a_few_are_named():
    message = refused(20, 199, 1000)
    assert message.startswith('photos: 20 of the 199 checked images cannot be read, and max_unreadable=0.1')
    assert 'a/0.jpg, a/1.jpg, a/2.jpg, and the last was b/3.jpg: this image cannot' in message
    assert 'correct data_root' in message
    assert 'none of the 20 checked images can be read' in refused(20, 20, 1000)


def test_a_share_may_be_of_all_images():
    assert '20 of the 40 checked images' in refused(20, 40, 190, denominator=190)
    refuse_too_many(Counts(20, 20, 200, 200), 0.1, LATEST, [], 'photos')


def test_none_at_all_and_none_allowed():
    assert refused(3, 3, 3, max_share=1).startswith('photos: none of the 3 images can be read')
    message = refused(1, 7, 9, max_share=0)
    assert message.startswith('b/3.jpg: this image cannot be read (the file is empty)')
    assert '--cfg-options max_unreadable=0.1' in message


def test_processes_append_to_one_list_and_each_image_stands_once(tmp_path):
    ours, theirs = UnreadableList(tmp_path / 'work'), UnreadableList(tmp_path / 'work')
    assert not ours and not ours.path.exists()
    assert ours.add(Unreadable('a b.jpg', 'the file is empty'))
    assert not theirs.add(Unreadable('a b.jpg', 'it has no pixels'))
    assert theirs.add(Unreadable('a: b.jpg', 'OSError: truncated\n(9 bytes)'))
    assert len(ours) == len(theirs) == 2
    assert ours.path.read_text() == 'a b.jpg\tthe file is empty\na: b.jpg\tOSError: truncated (9 bytes)\n'


def test_a_name_that_is_no_utf_8_is_kept(tmp_path):
    found = UnreadableList(tmp_path)
    name = b'caf\xe9.jpg'.decode(errors='surrogateescape')
    assert found.add(Unreadable(name, 'the file is empty')) and len(found) == 1
    assert found.path.read_bytes().startswith(b'caf\xe9.jpg\t')
    assert not found.add(Unreadable(name, 'the file is empty'))
