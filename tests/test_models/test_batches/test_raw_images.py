"""The size and the pixels that the data preprocessor is given are what the teacher and queries go by."""

import copy

import numpy as np
import pytest
import torch
from lfi.models.batches.raw_images import correct_image_sizes, register_image_checks
from lfi.structures import get_valid_sizes
from mmdet.datasets.transforms import PhotoMetricDistortion
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.dataset import Compose, default_collate, pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

NORMALISE = dict(mean=[100.0, 120.0, 140.0], std=[50.0, 60.0, 70.0])


def preprocessor(kind=ClsDataPreprocessor, cache=None, **arguments):
    made = kind(**NORMALISE, **arguments)
    # Of every student, and of one that has a teacher.
    correct_image_sizes(made)
    register_image_checks(made, cache)
    return made


def sizes(preprocessor, data):
    data = preprocessor(data, training=False)
    return get_valid_sizes(data['inputs'], data['data_samples'])


def batch_of(shapes, img_shapes, kind=DataSample):
    return dict(
        inputs=[torch.full((3, *shape), 200, dtype=torch.uint8) for shape in shapes],
        data_samples=[kind(metainfo=dict(img_shape=shape)) for shape in img_shapes],
    )


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_torchvisions_transforms_leave_no_patch_unread(collate):
    init_default_scope('mmpretrain')
    pipeline = Compose(
        [
            dict(type='NumpyToPIL', to_rgb=True),
            dict(type='torchvision/RandomResizedCrop', size=224),
            dict(type='PILToNumpy', to_bgr=True),
            dict(type='PackInputs'),
        ]
    )
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    packed = [pipeline(dict(img=image, img_shape=(64, 64), ori_shape=(64, 64), gt_label=0)) for _ in 'ab']
    # The step that this corrects: the pipeline's own word.
    assert packed[0]['data_samples'].img_shape == (64, 64)
    assert sizes(preprocessor(), collate(packed)) == [(224, 224)] * 2


def test_images_that_are_padded_into_a_batch_keep_their_own_sizes():
    data = batch_of([(40, 30), (20, 64)], [(40, 30), (20, 64)], DetDataSample)
    assert sizes(preprocessor(DetDataPreprocessor, pad_size_divisor=32), data) == [(40, 30), (20, 64)]
    data = batch_of([(40, 30), (20, 64)], [(480, 640), (10, 10)])
    assert sizes(preprocessor(pad_size_divisor=32), data) == [(40, 30), (20, 64)]


def test_stacked_images_are_image_but_for_the_preprocessors_padding():
    data = batch_of([(40, 30)] * 2, [(7, 7)] * 2)
    data['inputs'] = torch.stack(data['inputs'])
    assert sizes(preprocessor(pad_size_divisor=32), data) == [(40, 30)] * 2


def test_samples_without_a_size_get_one():
    data = batch_of([(40, 30), (20, 64)], [(1, 1)] * 2)
    data['data_samples'] = [DataSample(), DataSample()]
    assert sizes(preprocessor(), data) == [(40, 30), (20, 64)]


def test_a_batch_without_samples_passes():
    data = preprocessor()(dict(inputs=torch.full((2, 3, 8, 8), 9, dtype=torch.uint8)), False)
    assert data['inputs'].shape == (2, 3, 8, 8)


@pytest.mark.parametrize('low', [-2.1, 0.0])
def test_images_that_are_normalised_already_are_refused(low):
    data = batch_of([(8, 8)], [(8, 8)])
    data['inputs'] = [torch.empty(3, 8, 8).uniform_(low, 2.6)]
    with pytest.raises(ValueError, match='an online teacher needs .* Normalize or ToTensor'):
        preprocessor()(data, True)
    # A cache was made of the image files.
    preprocessor(cache='maps')(data, True)


def test_float_images_of_the_files_values_pass():
    data = batch_of([(8, 8)], [(8, 8)])
    data['inputs'] = [torch.empty(3, 8, 8).uniform_(-32, 290)]
    preprocessor()(data, True)


def floats(values):
    data = batch_of([(8, 8)], [(8, 8)])
    data['inputs'] = [values.expand(3, 8, 8).float()]
    return data


@pytest.mark.parametrize(
    'values',
    [
        torch.linspace(-123, 151, 64).view(8, 8),
        torch.linspace(-128, 127, 64).view(8, 8).round(),
        torch.tensor([-1, 1] * 4),
    ],
    ids=['less-its-mean', 'centred', 'black-and-white'],
)
def test_pixels_below_those_of_any_image_are_refused(values):
    with pytest.raises(ValueError, match='an online teacher needs .* Normalize or ToTensor'):
        preprocessor()(floats(values), True)


def test_dark_images_of_the_files_values_pass_and_the_next_ones_tell():
    checked = preprocessor()
    checked(floats(torch.arange(8)), True)
    checked(floats(torch.zeros(8)), True)
    with pytest.raises(ValueError, match='an online teacher needs'):
        checked(floats(torch.rand(8)), True)


def test_a_distorted_image_of_mmdet_passes():
    distort = PhotoMetricDistortion()
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for seed in range(50):
        set_random_seed(seed)
        pixels = torch.from_numpy(distort(dict(img=image))['img'].copy()).permute(2, 0, 1)
        preprocessor()(floats(pixels), True)


def test_the_batch_may_be_named():
    data = batch_of([(40, 30)], [(7, 7)])
    data = preprocessor()(data=data, training=False)
    assert get_valid_sizes(data['inputs'], data['data_samples']) == [(40, 30)]
    with pytest.raises(ValueError, match='an online teacher needs'):
        preprocessor()(data=floats(torch.rand(8)), training=True)


def test_a_copy_of_the_model_checks_too():
    copied = copy.deepcopy(preprocessor())
    assert sizes(copied, batch_of([(40, 30)], [(7, 7)])) == [(40, 30)]
