"""Samples of tar files: images in order, with the members of the same name."""

import pytest
from lfi.datasets.tar_shards import read_samples
from lfi.datasets.tar_shards.samples import opened
from lfi.errors import UsageError
from mmengine.fileio import get
from tar_files import read_tar, write_tar

pytest.importorskip('webdataset')


def test_images_come_in_the_order_of_the_tar(tmp_path):
    tar = write_tar(
        tmp_path / 'a.tar',
        [
            ('b/1.jpg', b'one'),
            ('b/1.cls', b'7'),
            ('notes.txt', b'no image'),
            ('a/2.v2.PNG', b'two'),
            ('3.json', b'{}'),
            ('3.webp', b'three'),
        ],
    )
    samples = list(read_samples(str(tar)))
    assert [sample.path for sample in samples] == [
        f'tar://{tmp_path}/a.tar/{name}' for name in ('b/1.jpg', 'a/2.v2.png', '3.webp')
    ]
    assert [sample.image for sample in samples] == [b'one', b'two', b'three']
    assert samples[0].members == {'jpg': b'one', 'cls': b'7'}
    with opened(samples[0]):
        assert get(samples[0].path) == b'one'
    with pytest.raises(FileNotFoundError, match='an image in a tar file is read by lfi.WebDataset'):
        get(samples[0].path)


def truncate(size):
    return lambda tar: tar.write_bytes(tar.read_bytes()[:size])


def write_twice(tar):
    write_tar(tar, [('1.jpg', b'one'), ('1.jpg', b'two')])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda tar: tar.unlink(), r'tar=\S+a.tar: the tar file cannot be read \(No such file'),
        (lambda tar: tar.write_bytes(b'no tar' * 200), r'tar=\S+a.tar: the tar file cannot be read'),
        (truncate(1024), r'a.tar: the tar file cannot be read \(it is truncated'),
        (truncate(1100), r'a.tar: the tar file cannot be read \(it is truncated'),
        (truncate(2048), r'a.tar: the tar file cannot be read \(it is truncated'),
        (write_twice, r'a.tar has two members 1.jpg: remove one'),
    ],
)
def test_a_broken_tar_is_named_with_its_last_member(change, message, tmp_path):
    tar = write_tar(tmp_path / 'a.tar', [('1.jpg', b'one'), ('2.jpg', b'two' * 900)])
    assert len(read_tar(tar)) == 2
    change(tar)
    with pytest.raises(UsageError, match=message):
        list(read_samples(str(tar)))
