"""Which files count as images that cannot be read."""

import errno
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lfi.unreadable.images import Unreadable, find_cause_of_failure, find_undecodable_image
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import Compose
from picture_files import write_noise
from PIL import Image

LOAD = Compose([LoadImageFromFile()])


@pytest.fixture
def image(tmp_path):
    write_noise(tmp_path / 'image.jpg', 0)
    return tmp_path / 'image.jpg'


def info(path):
    return {'img_path': str(path)}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 0.97))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'WEBP'])
def test_truncation_anywhere_is_found(tmp_path, kind, fraction):
    path = tmp_path / 'image'
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format=kind)
    assert find_undecodable_image(info(path), LOAD) is None
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    assert find_undecodable_image(info(path), LOAD).path == str(path)


def test_a_truncated_image_is_found_where_opencv_fills_it_up(image, monkeypatch):
    """As some of its versions do."""
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: np.full((64, 64, 3), 127, np.uint8))
    image.write_bytes(image.read_bytes()[:-500])
    assert LOAD(info(image))['img'].shape == (64, 64, 3)
    assert 'image file is truncated' in find_undecodable_image(info(image), LOAD).reason


def png_of(width, height):
    """A PNG file that says it is of this size, and has no pixels."""
    head = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = (head, b'IDAT' + zlib.compress(b''), b'IEND')
    parts = [struct.pack('>I', len(c) - 4) + c + struct.pack('>I', zlib.crc32(c)) for c in chunks]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def test_an_image_that_is_too_large_for_pillow_is_left_to_the_loader(image, monkeypatch):
    monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', 10)
    assert find_undecodable_image(info(image), LOAD) is None


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'the file is empty'),
        (b'not an image', 'its format is unknown'),
        (png_of(60_000, 60_000), 'pixels <= CV_IO_MAX_IMAGE_PIXELS'),
        (png_of(0, 10), ''),
    ],
)
def test_what_is_no_image(image, content, reason):
    image.write_bytes(content)
    found = find_undecodable_image(info(image), LOAD)
    assert found == find_cause_of_failure(info(image), LOAD)
    assert reason in found.reason and '\n' not in str(found)
    assert str(found).startswith(f'{image}: this image cannot be read (')


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / 'folder').mkdir()
    assert find_undecodable_image(info(tmp_path / 'gone.jpg'), LOAD).reason == 'No such file or directory'
    assert find_undecodable_image(info(tmp_path / 'folder'), LOAD).reason == 'Is a directory'


class View(BaseTransform):
    """A transform that has others inside."""

    def __init__(self, *transforms):
        self.transforms = list(transforms)

    def transform(self, results):
        return results


class KeepsConfigs(View):
    """One that keeps lists of configs, as Albumentations does."""

    def __init__(self):
        super().__init__(dict(type='Blur', p=0.1), 'Blur')


class LoadManyChannelImage(BaseTransform):
    """A loader of one's own, of files that neither Pillow nor OpenCV knows."""

    def transform(self, results):
        return {**results, 'img': np.load(results['img_path'])}


@pytest.mark.parametrize(
    'pipeline',
    [LOAD, View(LOAD), Compose([View(LoadImageFromFile())]), Compose([LoadImageFromFile(), KeepsConfigs()])],
)
def test_what_only_the_pipelines_own_loader_cannot_read_is_found_wherever_it_loads(image, pipeline):
    Image.new('RGB', (32, 32)).save(image, format='ICO')
    assert find_undecodable_image(info(image), pipeline).reason == 'its format is unknown'


def test_what_only_the_pipelines_own_loader_can_read_is_an_image(tmp_path):
    path = tmp_path / 'channels.npy'
    np.save(path, np.zeros((4, 4, 9)))
    pipeline = Compose([LoadManyChannelImage()])
    assert find_undecodable_image(info(path), pipeline) is None
    path.write_bytes(path.read_bytes()[:-9])
    assert find_undecodable_image(info(path), pipeline) is not None


def test_images_that_are_no_files_are_not_looked_for():
    assert find_undecodable_image(info('shapes/train/3.png'), Compose([])) is None
    assert find_undecodable_image({'img': np.zeros((2, 2, 3))}, LOAD) is None
    assert find_undecodable_image({'img_path': ['a.jpg', 'b.jpg']}, LOAD) is None


def test_what_a_loader_raises_at_any_image_is_not_the_images_fault(image):
    class LoadOwnImage(BaseTransform):
        def transform(self, results):
            return results['misspelt']

    assert find_cause_of_failure(info(image), Compose([LoadOwnImage()])) is None


def test_what_the_machine_lacks_is_not_the_images_fault(image):
    class LoadOwnImage(BaseTransform):
        def transform(self, results):
            raise OSError(errno.EMFILE, 'Too many open files')

    with pytest.raises(OSError, match='Too many open files'):
        find_cause_of_failure(info(image), Compose([LoadOwnImage()]))


def test_a_label_map_that_cannot_be_read_is_found(image, tmp_path):
    labels = tmp_path / 'labels.png'
    both = {**info(image), 'seg_map_path': str(labels)}
    assert find_cause_of_failure(both, LOAD) == Unreadable(str(labels), 'No such file or directory')
    cv2.imwrite(str(labels), np.arange(900).astype(np.uint8).reshape(30, 30))
    assert find_cause_of_failure(both, LOAD) is None
    labels.write_bytes(labels.read_bytes()[:60])
    assert find_cause_of_failure(both, LOAD).path == str(labels)
