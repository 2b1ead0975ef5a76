"""Notes about unreadable and huge images, for every format."""

import io

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


@pytest.mark.parametrize('form', ['JPEG', 'PNG'])
def test_truncated_images_are_left_out(form, tmp_path):
    write_class_folders(tmp_path)
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(whole, form)
    (tmp_path / 'dog/4.jpg').write_bytes(whole.getvalue()[:-100])
    # Cameras write after the end of the image.
    (tmp_path / 'dog/5.jpg').write_bytes(whole.getvalue() + b'settings of a camera')
    data = find_data(tmp_path, tmp_path)
    assert len(data.train) == 9
    assert data.notes == ('unreadable images were left out: 1, such as dog/4.jpg',)


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
