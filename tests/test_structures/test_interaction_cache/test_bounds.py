"""A cache that claims more than its files hold is refused before there is memory, or time, for it."""

import json
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from lfi.structures.interaction_cache import CacheError, InteractionCache, image_keys, shard_name
from lfi.structures.interaction_cache.files import read_npy
from numpy.lib import format as npy
from small_cache import PATHS, TEXTS, open_writer


def claim(path, shape, descr='<u8', held=b''):
    """Write a .npy file whose header names a shape."""
    with path.open('wb') as file:
        npy.write_array_header_1_0(file, dict(shape=shape, fortran_order=False, descr=descr))
        file.write(held)


def rewrite(folder, **fields):
    path = folder / 'manifest.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize('num_images', [10**12, 10**400])
def test_no_more_images_than_keys(folder, num_images):
    rewrite(folder, num_images=num_images)
    with pytest.raises(
        CacheError,
        match=rf'index\.npy is .*: it has the shape \(10,\), and must have \({num_images},\)',
    ):
        InteractionCache(folder)


def test_a_shard_size_beyond_all_images_is_one_shard(folder, manifest):
    assert replace(manifest, shard_size=10**400).num_shards == 1


DESCR = {
    'index.npy': [('key', '<u8'), ('row', '<i8')],
    'index-blocks.npy': '<u8',
    'texts.npy': '<f4',
}


@pytest.mark.parametrize('name', ['index.npy', 'index-blocks.npy', 'texts.npy'])
@pytest.mark.parametrize(
    ('shape', 'descr'),
    [
        ((10**12,), None),
        ((10**9, 10**9), None),
        ((-1,), None),
        ((10**12,), '|V0'),
        ((2,), '<f8'),
        ((1,), '|O'),
    ],
)
def test_an_array_larger_than_its_file_is_named(folder, name, shape, descr):
    claim(folder / name, shape, descr or DESCR[name])
    with pytest.raises(CacheError, match=rf'{name} is missing or corrupted: (its header|it holds)'):
        InteractionCache(folder)


@pytest.mark.parametrize('shape', [[10**13, 1, 8], [4, 10**6, 8]])
def test_a_shard_larger_than_its_file_is_named(folder, manifest, shape):
    path = folder / 'shard-00000.safetensors'
    size = 8 * shape[0]
    header = {
        'keys': {'dtype': 'U64', 'shape': [shape[0]], 'data_offsets': [0, size]},
        'records': {
            'dtype': 'U8',
            'shape': shape,
            'data_offsets': [size, size + prod(shape)],
        },
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text + bytes(1000))
    with pytest.raises(CacheError, match=r'shard-00000\.safetensors is missing or corrupted: '):
        InteractionCache(folder).read(PATHS[:1])
    assert open_writer(folder, manifest).opened(shard_name(0), image_keys(PATHS[:4], 2)) is None


def test_a_record_larger_than_the_shards_is_refused_before_there_is_memory_for_it(folder, manifest):
    (name, kind, (n_layers, m, *_)), *others = manifest.content()['record']
    rewrite(folder, record=[[name, kind, [n_layers, m, 2**14, 2**14]], *others])
    with pytest.raises(
        CacheError, match=r'shard-00000\.safetensors is missing or corrupted: its records are'
    ):
        InteractionCache(folder).read(PATHS * 100)


def test_a_manifest_that_is_too_long_is_not_read(folder):
    (folder / 'manifest.json').write_text(' ' * 2**25)
    with pytest.raises(CacheError, match='has 33,554,432 bytes, and no manifest has more than 16,777,216'):
        InteractionCache(folder)


@pytest.mark.parametrize('header', ['(' * 9000, '{"shape": ' + '[' * 3000, '[1, 2]', '{}', "'" * 5, '\x00'])
def test_a_header_that_is_none_ends_in_a_value_error(tmp_path, header):
    text = header.encode()
    path = tmp_path / 'x.npy'
    path.write_bytes(npy.magic(1, 0) + len(text).to_bytes(2, 'little') + text)
    with pytest.raises(ValueError, match='.'):
        read_npy(path, np.float32)


def test_an_array_is_read_as_it_was_written(tmp_path):
    for array in (TEXTS, np.zeros((0, 3), np.float32), np.asfortranarray(TEXTS)):
        np.save(tmp_path / 'x.npy', array)
        np.testing.assert_array_equal(read_npy(tmp_path / 'x.npy', np.float32), array)
