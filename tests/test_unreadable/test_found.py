from lfi.unreadable import FoundList, Unreadable


def test_processes_append_to_one_list_and_each_image_stands_once(tmp_path):
    ours, theirs = FoundList(tmp_path / 'work'), FoundList(tmp_path / 'work')
    assert not ours and not ours.path.exists()
    assert ours.add(Unreadable('a b.jpg', 'the file is empty'))
    assert not theirs.add(Unreadable('a b.jpg', 'it has no pixels'))
    assert theirs.add(Unreadable('a: b.jpg', 'OSError: truncated\n(9 bytes)'))
    assert len(ours) == len(theirs) == 2
    assert ours.path.read_text() == 'a b.jpg\tthe file is empty\na: b.jpg\tOSError: truncated (9 bytes)\n'


def test_a_name_that_is_no_utf_8_is_kept(tmp_path):
    found = FoundList(tmp_path)
    name = b'caf\xe9.jpg'.decode(errors='surrogateescape')
    assert found.add(Unreadable(name, 'the file is empty')) and len(found) == 1
    assert found.path.read_bytes().startswith(b'caf\xe9.jpg\t')
    assert not found.add(Unreadable(name, 'the file is empty'))
