"""Samples of tar files: images in order, with the members of the same name."""

import gzip
import tarfile

import pytest
from lfi.datasets.tar_shards import read_samples, samples
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
            ('__MACOSX/._4.png', b'a Mac'),
            ('notes.md', b'no image'),
            ('a/2.depth.png', b'depth'),
            ('a/2.PNG', b'two'),
            ('3.json', b'{}'),
            ('3.webp', b'three'),
        ],
    )
    samples = list(read_samples(str(tar)))
    assert [sample.path for sample in samples] == [
        f'tar://{tmp_path}/a.tar/{name}' for name in ('b/1.jpg', 'a/2.png', '3.webp')
    ]
    assert [sample.image for sample in samples] == [b'one', b'two', b'three']
    assert samples[0].members == {'jpg': b'one', 'cls': b'7'}
    with opened(samples[0]):
        assert get(samples[0].path) == b'one'
    with pytest.raises(FileNotFoundError, match='an image in a tar file is read by lfi.WebDataset'):
        get(samples[0].path)


def truncate(size):
    return lambda tar: tar.write_bytes(tar.read_bytes()[:size])


def write(*names):
    return lambda tar: write_tar(tar, [(name, name.encode()) for name in names])


def concatenate(tar):
    tar.write_bytes(tar.read_bytes() * 2)


def compress(tar):
    tar.write_bytes(gzip.compress(tar.read_bytes()))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda tar: tar.unlink(), r'tar=\S+a.tar: the tar file cannot be read \(No such file'),
        (
            lambda tar: tar.write_bytes(b'no tar' * 200),
            r'tar=\S+a.tar: the tar file cannot be read \(it is no',
        ),
        (compress, r'a.tar: the tar file cannot be read \(it is no tar, or a compressed one'),
        (truncate(1024), r'a.tar.*: the tar file cannot be read \(it is truncated'),
        (truncate(1100), r'a.tar.*: the tar file cannot be read \(it is truncated'),
        (truncate(2048), r'a.tar.*: the tar file cannot be read \(it is truncated within'),
        (concatenate, r'a.tar.*: the tar file cannot be read \(another tar follows in the file'),
        (write('1.jpg', '1.jpg'), r'a.tar has two members 1.jpg: remove one'),
        (write('1.jpg', '2.jpg', '1.png'), r'a.tar has two samples 1: members of one name must lie beside'),
        (write('1.jpg', '2.jpg', '1.cls'), r'a.tar has two samples 1: members of one name must lie beside'),
        (write('1.jpg', '1.png'), r'a.tar: the sample 1 has two images, jpg and png: rename one'),
        (write('IMG.001.png', 'IMG.002.png'), r'a.tar: IMG.001.png has no image, such as IMG.jpg, beside it'),
        (write('B.jpg', 'b.cls'), r'a.tar: b.cls has no image, such as b.jpg, beside it'),
    ],
)
def test_a_broken_tar_is_named_with_its_last_member(change, message, tmp_path):
    tar = write_tar(tmp_path / 'a.tar', [('1.jpg', b'one'), ('2.jpg', b'\0' * 2700)])
    assert len(read_tar(tar)) == 2
    change(tar)
    with pytest.raises(UsageError, match=message):
        list(read_samples(str(tar)))


def test_each_truncation_is_found(tmp_path):
    tar = write_tar(tmp_path / 'a.tar', [('1.jpg', b'one'), ('2.jpg', b'\0' * 2700), ('3.jpg', b'three')])
    content = tar.read_bytes()
    # Eleven blocks of members, and one that ends the tar.
    for size in range(0, 512 * 12, 128):
        tar.write_bytes(content[:size])
        with pytest.raises(UsageError, match='the tar file cannot be read'):
            list(read_samples(str(tar)))


def test_images_of_other_formats_are_left_out_with_one_warning(tmp_path, warnings):
    samples._warn_of_format.cache_clear()
    tar = write_tar(tmp_path / 'a.tar', [('1.gif', b'1'), ('2.GIF', b'2'), ('3.jpg', b'3'), ('4.avif', b'4')])
    assert [sample.image for sample in read_samples(str(tar))] == [b'3']
    assert [text.split(' are left out')[0] for text in warnings] == [
        'images in tar files that end in .gif',
        'images in tar files that end in .avif',
    ]


@pytest.mark.parametrize('kind', [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.GNUTYPE_SPARSE])
def test_members_whose_content_lies_elsewhere_are_refused(kind, tmp_path):
    path = tmp_path / 'a.tar'
    with tarfile.open(path, 'w', format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo('0.jpg')
        member.type, member.linkname = kind, 'other.jpg'
        tar.addfile(member)
    with pytest.raises(UsageError, match=r'0\.jpg is a link or a sparse file: write the tar without -S'):
        list(read_samples(str(path)))
