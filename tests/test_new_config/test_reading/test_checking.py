"""Notes about unreadable and huge images, and about names of classes, for every format."""

import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data, typical_size
from PIL import Image
from small_data_sets import write_class_folders


def notes_of(root):
    return find_data(root, root).notes


def test_unreadable_images_are_left_out(tmp_path):
    write_class_folders(tmp_path)
    (tmp_path / 'cat/0.jpg').write_bytes(b'no image')
    (tmp_path / 'dog/4.png').write_bytes(b'')
    data = find_data(tmp_path, tmp_path)
    assert len(data.train) == 7 and typical_size(data) == (64, 64)
    assert data.notes == ('unreadable images were left out: 2, such as cat/0.jpg',)


def test_a_class_may_lose_all_its_images(tmp_path):
    write_class_folders(tmp_path, count=1)
    (tmp_path / 'cat/0.jpg').write_bytes(b'no image')
    assert "classes without a training image: 1, such as 'cat'" in notes_of(tmp_path)


def test_some_image_must_be_readable(tmp_path):
    write_class_folders(tmp_path, count=1)
    for file in tmp_path.rglob('*.jpg'):
        file.write_bytes(b'no image')
    with pytest.raises(UsageError, match=r'no training image of \S+ can be read, such as cat/0.jpg'):
        find_data(tmp_path, tmp_path)


@pytest.mark.parametrize('size', [(8000, 7000), (20_000, 10_000)])
def test_huge_images_are_noted(size, tmp_path, recwarn):
    """Pillow warns of the smaller one, and refuses the larger one."""
    write_class_folders(tmp_path)
    Image.new('1', size).save(tmp_path / 'cat' / 'map.png')
    (note,) = notes_of(tmp_path)
    assert note.startswith(
        f'images of more than 50 megapixels: 1, such as cat/map.png ({size[0]} x {size[1]})'
    )
    assert not recwarn.list


@pytest.mark.parametrize(
    ('classes', 'note'),
    [
        (
            ('a_b', 'a b', 'c'),
            "the classes 'a b' and 'a_b' are the same text for the teacher, which cannot tell",
        ),
        (('0', '1', '2'), 'the classes have numbers for names, which tell the teacher nothing: write words'),
    ],
)
def test_names_that_tell_the_teacher_nothing_are_noted(classes, note, tmp_path):
    (found,) = notes_of(write_class_folders(tmp_path, classes))
    assert found.startswith(note)
