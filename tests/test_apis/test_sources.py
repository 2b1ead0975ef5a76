"""What an inferencer is given, as sources."""

import re

import numpy as np
import pytest
from lfi.apis import list_sources
from lfi.apis.sources import ArraySource, FileSource, VideoSource

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_each_kind_of_input_is_known(tmp_path):
    for name in ('b.jpg', 'a.PNG', 'notes.txt', 'clip.mp4', 'deep/c.webp'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    sources = list_sources([tmp_path, 'x.mp4', (IMAGE, tmp_path / 'notes.txt'), 'gone.png'])
    assert [type(source) for source in sources] == [
        *[FileSource] * 3,
        VideoSource,
        ArraySource,
        *[FileSource] * 2,
    ]
    in_folder = [str(tmp_path / name) for name in ('a.PNG', 'b.jpg', 'deep/c.webp')]
    names = [*in_folder, 'x.mp4', 'inputs[2][0]', str(tmp_path / 'notes.txt'), 'gone.png']
    assert [source.name for source in sources] == names
    assert [source.count(2) for source in sources] == [1, 1, 1, 0, 1, 1, 1]


def test_an_address_stays_as_it_is():
    assert list_sources(['https://a.org/b.jpg?x=1', 's3://c/d.png', 'https://a.org/b.mp4?x=1']) == [
        FileSource('https://a.org/b.jpg?x=1'),
        FileSource('s3://c/d.png'),
        VideoSource('https://a.org/b.mp4?x=1'),
    ]


def test_links_to_folders_are_followed_and_folders_are_no_images(tmp_path):
    photos = tmp_path / 'photos'
    for name in ('photos/b.jpg', 'photos/folder.jpg/c.jpg', 'elsewhere/d.jpg'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    (photos / 'link').symlink_to(tmp_path / 'elsewhere')
    (photos / 'link' / 'back').symlink_to(photos)
    names = [source.name for source in list_sources(photos)]
    assert names == [str(photos / name) for name in ('b.jpg', 'folder.jpg/c.jpg', 'link/d.jpg')]


@pytest.mark.parametrize(
    ('inputs', 'error', 'message'),
    [
        (
            np.zeros((4, 6), np.uint8),
            ValueError,
            'inputs must be (H, W, 3) uint8 in BGR order, got shape (4, 6)',
        ),
        ([IMAGE, IMAGE / 2], ValueError, 'inputs[1] must be (H, W, 3) uint8 in BGR order'),
        (7, TypeError, 'inputs must be a path, an array or a list of these, got int'),
    ],
)
def test_other_inputs_are_refused(inputs, error, message):
    with pytest.raises(error, match=re.escape(message)):
        list_sources(inputs)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / 'notes.txt').write_text('none')
    with pytest.raises(ValueError, match=f'the folder {tmp_path} holds no images'):
        list_sources(tmp_path)
