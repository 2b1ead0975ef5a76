import numpy as np
import pytest
from lfi.apis.image_inputs import image_inputs
from lfi.errors import UsageError
from PIL import Image


@pytest.fixture
def red(tmp_path):
    """A red picture, 8 x 6 pixels, as a file."""
    file = tmp_path / 'red.png'
    Image.new('RGB', (8, 6), 'red').save(file)
    return file


def pixels(inputs):
    """The first source's image, BGR."""
    return inputs.sources[0].image


def test_arrays_are_rgb_and_sources_bgr(red):
    for image in (Image.open(red), np.asarray(Image.open(red))):
        inputs = image_inputs(image)
        assert inputs.single
        assert pixels(inputs).shape == (6, 8, 3)
        assert pixels(inputs)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', '1'])
def test_any_pil_image_will_do(mode):
    assert pixels(image_inputs(Image.new(mode, (8, 6)))).shape == (6, 8, 3)


def test_a_pil_image_is_loaded_upright_as_its_file_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (8, 6)).save(tmp_path / 'turned.jpg', exif=exif)
    assert pixels(image_inputs(Image.open(tmp_path / 'turned.jpg'))).shape == (8, 6, 3)


def test_lists_folders_and_single_images(red):
    one = image_inputs(red)
    assert one.single and one.required == {str(red)}
    assert not image_inputs([red]).single
    assert not image_inputs(red.parent).single
    assert not image_inputs(red.parent).required
    mixed = image_inputs([str(red), np.zeros((4, 4, 3), np.uint8), Image.new('RGB', (5, 5))])
    assert [source.name for source in mixed.sources] == [str(red), 'images[1]', 'images[2]']
    assert image_inputs([]).sources == []


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        ('nowhere.jpg', r"images='nowhere.jpg' does not exist"),
        (['nowhere.jpg'], r"images\[0\]='nowhere.jpg' does not exist"),
        (np.zeros((4, 4), np.uint8), r'images has the shape \(4, 4\) and the type uint8: an array must be'),
        (np.zeros((4, 4, 3)), r'the type float64: an array must be \(H, W, 3\) uint8 in RGB order'),
        (3, r'images is a int: give a path, an array'),
    ],
)
def test_other_images_are_refused_in_one_line(images, message):
    with pytest.raises(UsageError, match=message):
        image_inputs(images)


def test_an_image_that_a_call_names_must_be_readable(red):
    image_inputs(red.parent).check_read([str(red)])
    with pytest.raises(UsageError, match=r'images: .*red\.png cannot be read'):
        image_inputs(red).check_read([str(red)])
