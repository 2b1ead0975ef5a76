import numpy as np
import pytest
from lfi.datasets.transforms.loading import LoadHeatMap
from PIL import Image


def test_it_finds_the_picture_by_the_images_name(tmp_path):
    heat = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(heat).save(tmp_path / 'cat_1.png')
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / 'cat_2.png')
    load = LoadHeatMap(tmp_path)
    (label, found), *others = load(dict(img_path='photos/cat_1.jpg', gt_label=2))['heat_maps'].items()
    assert (label, others) == (2, [])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, heat / 255, rtol=1e-6)
    # A black picture says nothing, and a missing one likewise.
    assert load(dict(img_path='photos/cat_2.jpg', gt_label=2))['heat_maps'] == {}
    assert load(dict(img_path='photos/cat_3.jpg', gt_label=2))['heat_maps'] == {}


def test_counts_of_16_bits_are_kept_and_hidden_labels_have_no_map(tmp_path):
    counts = np.arange(12, dtype=np.uint16).reshape(3, 4) * 80
    Image.fromarray(counts).save(tmp_path / 'cat_1.png')
    load = LoadHeatMap(tmp_path)
    found = load(dict(img_path='cat_1.jpg', gt_label=2))['heat_maps'][2]
    np.testing.assert_allclose(found, counts / 65535, rtol=1e-6)
    assert load(dict(img_path='cat_1.jpg', gt_label=-1))['heat_maps'] == {}


def test_images_of_one_name_have_heat_maps_of_their_own(tmp_path):
    for folder, value in (('.', 50), ('dog', 100), ('photo/dog', 200)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), value, np.uint8)).save(tmp_path / folder / '1.png')
    load = LoadHeatMap(tmp_path)
    for path, value in (
        ('/data/photo/dog/1.jpg', 200),
        ('/data/sketch/dog/1.jpg', 100),
        ('/data/sketch/cat/1.jpg', 50),
        ('1.jpg', 50),
    ):
        heat = load(dict(img_path=path, gt_label=0))['heat_maps'][0]
        np.testing.assert_allclose(heat, value / 255, rtol=1e-6)


def test_the_folder_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='data_root=.*none.* is not a folder of heat maps'):
        LoadHeatMap(tmp_path / 'none')


def test_an_image_beside_the_folder_is_no_heat_map_of_itself(tmp_path):
    for folder in ('heat', 'images'):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.full((2, 2), 90, np.uint8)).save(tmp_path / 'images/x.png')
    assert LoadHeatMap(tmp_path / 'heat')(dict(img_path='../images/x.png', gt_label=0))['heat_maps'] == {}


@pytest.mark.parametrize('content', [b'', b'no picture'])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(OSError, match=r'x\.png: this heat map cannot be read'):
        LoadHeatMap(tmp_path)(dict(img_path='x.jpg', gt_label=0))
