"""A picture of its own coordinates shows what a view is."""

import pickle
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.datasets import RecordView
from lfi.datasets.transforms import view_matrix
from lfi.datasets.transforms.mixed_sources import refuse_unrecorded_changes
from lfi.errors import UsageError
from mmcv.transforms import BaseTransform
from mmdet.datasets import transforms as mmdet_transforms
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmpretrain.datasets.transforms import RandomCrop
from mmpretrain.registry import TRANSFORMS
from PIL import Image

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')

# What a worker does that is spawned.
UNPICKLE = """
import pickle, sys
transform = pickle.load(open(sys.argv[1], 'rb'))
from lfi.datasets.transforms.view_matrix import has_rule
assert all(has_rule(leaf) for leaf in transform.transforms)
"""
AUG = dict(magnitude_level=7, total_level=10, prob=0.8)
GEOMETRIC = {
    'none': [],
    'random_resized_crop': [dict(type='RandomResizedCrop', scale=(24, 32))],
    'efficientnet_random_crop': [dict(type='EfficientNetRandomCrop', scale=32)],
    'flip': [dict(type='RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal'])],
    'resize': [dict(type='Resize', scale=(40, 30))],
    'resize_keep_ratio': [dict(type='Resize', scale=(64, 30), keep_ratio=True)],
    'random_resize': [dict(type='RandomResize', scale=(50, 40), ratio_range=(0.5, 1.5), keep_ratio=True)],
    'resize_edge_center_crop': [dict(type='ResizeEdge', scale=40), dict(type='CenterCrop', crop_size=32)],
    'center_crop_larger': [dict(type='CenterCrop', crop_size=(90, 30))],
    'center_crop_padded': [dict(type='CenterCrop', crop_size=(90, 30), auto_pad=True)],
    'random_crop': [dict(type='RandomCrop', crop_size=20)],
    'random_crop_padding': [dict(type='RandomCrop', crop_size=40, padding=(1, 2, 3, 4))],
    'random_crop_pad_if_needed': [dict(type='RandomCrop', crop_size=75, padding=2, pad_if_needed=True)],
    'shear_x': [dict(type='Shear', magnitude_range=(0, 0.3), direction='horizontal', **AUG)],
    'shear_y': [dict(type='Shear', magnitude=0.2, direction='vertical')],
    'translate_x': [dict(type='Translate', magnitude_range=(0, 0.4), direction='horizontal', **AUG)],
    'translate_y': [dict(type='Translate', magnitude=0.3, direction='vertical')],
    'rotate': [dict(type='Rotate', magnitude_range=(0, 30), **AUG)],
    'rotate_scale': [dict(type='Rotate', angle=20.0, center=(10.0, 5.0), scale=0.8)],
}
GEOMETRIC['all'] = [
    t for name in ('random_resized_crop', 'flip', 'rotate', 'shear_x') for t in GEOMETRIC[name]
]
RANDAUGMENT = dict(
    type='RandAugment',
    policies=GEOMETRIC['shear_x'] + GEOMETRIC['translate_x'] + GEOMETRIC['rotate'],
    num_policies=2,
    total_level=10,
    magnitude_level=9,
    magnitude_std=0.5,
)
GEOMETRIC['randaugment'] = [RANDAUGMENT, *GEOMETRIC['random_resized_crop']]
GEOMETRIC['choice'] = [
    dict(type='RandomChoice', transforms=[GEOMETRIC['all'], GEOMETRIC['resize'], GEOMETRIC['random_crop']]),
    dict(type='RandomApply', transforms=GEOMETRIC['rotate'], prob=0.5),
]


MMDET = {
    'resize': [dict(type='mmdet.Resize', scale=(50, 40), keep_ratio=True)],
    'resize_shortest_edge': [
        dict(
            type='RandomChoiceResize',
            scales=[(50, 30), (50, 40)],
            keep_ratio=True,
            resize_type='mmdet.Resize',
        )
    ],
    'fix_shape_resize': [dict(type='mmdet.FixShapeResize', width=48, height=40, keep_ratio=True)],
    'flip': [
        dict(type='mmdet.RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal'])
    ],
    'crop': [dict(type='mmdet.RandomCrop', crop_size=(24, 26), allow_negative_crop=True)],
    'pad': [dict(type='mmdet.Pad', size_divisor=32)],
    'expand': [dict(type='mmdet.Expand', ratio_range=(1, 2))],
    'random_affine': [dict(type='mmdet.RandomAffine', max_translate_ratio=0.1)],
    'rotate': [dict(type='mmdet.Rotate', prob=0.8, level=6, img_border_value=0)],
    'shear': [dict(type='mmdet.ShearX', prob=0.8, img_border_value=0), dict(type='mmdet.ShearY', prob=1.0)],
    'translate': [dict(type='mmdet.TranslateX', prob=0.8, img_border_value=0)],
    'randaugment': [
        dict(
            type='mmdet.RandAugment',
            aug_space=[
                [dict(type=f'mmdet.{t}', img_border_value=0)] for t in ('Rotate', 'ShearY', 'TranslateY')
            ],
        )
    ],
}
MMDET['lsj'] = [
    dict(
        type='RandomResize',
        scale=(64, 64),
        ratio_range=(0.8, 1.6),
        resize_type='mmdet.Resize',
        keep_ratio=True,
    ),
    *MMDET['crop'],
    *MMDET['flip'],
    *MMDET['pad'],
]
GEOMETRIC.update({f'mmdet_{name}': transforms for name, transforms in MMDET.items()})
MMSEG = {
    'recipe': [
        dict(type='mmseg.RandomResize', scale=(80, 40), ratio_range=(0.8, 1.6), keep_ratio=True),
        dict(type='mmseg.RandomCrop', crop_size=(24, 26), cat_max_ratio=0.75),
        dict(type='mmseg.RandomFlip', prob=0.5),
    ],
    'crop': [dict(type='mmseg.RandomCrop', crop_size=20)],
    'rotate': [dict(type='mmseg.RandomRotate', prob=0.8, degree=30)],
    'rotate_bound': [dict(type='mmseg.RandomRotate', prob=0.8, degree=(10, 30), auto_bound=True)],
    'multiple': [dict(type='mmseg.ResizeToMultiple', size_divisor=8)],
    'shortest_edge': [dict(type='mmseg.ResizeShortestEdge', scale=(40, 50), max_size=64)],
}
if find_spec('mmseg') is not None:
    GEOMETRIC.update({f'mmseg_{name}': transforms for name, transforms in MMSEG.items()})


def smooth(transforms):
    """The same transforms with linear interpolation, which keeps a picture of coordinates exact."""
    if isinstance(transforms, list):
        return [smooth(t) for t in transforms]
    transforms = {k: smooth(v) if k in ('transforms', 'policies') else v for k, v in transforms.items()}
    if transforms['type'] in ('Shear', 'Translate', 'Rotate'):
        transforms.update(interpolation='bilinear', pad_val=(0, 0, 0))
    return transforms


def picture_of_coordinates(height, width):
    """(H, W, 3) float32: x and y from -1 to 1 at each pixel's middle, and one where the picture is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1, np.ones_like(x)], -1).astype(
        np.float32
    )


def results_of(picture):
    """What loading gives, for detection too."""
    boxes = HorizontalBoxes(torch.tensor([[1.0, 1.0, 20.0, 20.0]]))
    flags, labels = np.zeros(1, bool), np.zeros(1, np.int64)
    shape = picture.shape[:2]
    return dict(
        img=picture,
        img_shape=shape,
        ori_shape=shape,
        gt_bboxes=boxes,
        gt_ignore_flags=flags,
        gt_bboxes_labels=labels,
    )


@pytest.mark.parametrize('name', GEOMETRIC)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**31 - 1), height=st.integers(28, 60), width=st.integers(28, 70))
def test_the_view_says_where_each_pixel_comes_from(name, seed, height, width):
    set_random_seed(seed)
    picture = picture_of_coordinates(height, width)
    results = results_of(picture) if name.startswith('mmdet') else {'img': picture}
    if name.startswith('mmseg'):
        # The classes of a crop are counted.
        classes = np.arange(height * width).reshape(height, width) % 5
        results.update(gt_seg_map=classes.astype(np.uint8), seg_fields=['gt_seg_map'])
    results = RecordView(smooth(GEOMETRIC[name]))(results)
    shown, view = results['img'], results['view']
    assert view.shape == (2, 3) and view.dtype == torch.float32
    expected = picture_of_coordinates(*shown.shape[:2]) @ view.T.numpy()
    # Interpolation is not linear at the border of a crop, nor at that of the picture.
    h, w = shown.shape[:2]
    middle = np.zeros((h, w), bool)
    middle[h // 4 : -(h // 4), w // 4 : -(w // 4)] = True
    inside = middle & (shown[..., 2] > 0.999) & (np.abs(expected) < 1 - 4 / min(height, width)).all(-1)
    np.testing.assert_allclose(shown[inside][:, :2], expected[inside], atol=0.02)


def test_the_order_of_transforms_and_draws_is_that_of_the_bare_pipeline():
    in_any_order = dict(type='mmdet.RandomOrder', transforms=[*GEOMETRIC['all'], *GEOMETRIC['resize']])
    transforms = GEOMETRIC['choice'] + GEOMETRIC['randaugment'] + [dict(type='ColorJitter', brightness=0.4)]
    transforms.append(in_any_order)
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for seed in range(10):
        set_random_seed(seed)
        bare = {'img': image.copy()}
        for transform in transforms:
            bare = TRANSFORMS.build(transform)(bare)
        set_random_seed(seed)
        recorded = RecordView(transforms)({'img': image.copy()})
        np.testing.assert_array_equal(recorded['img'], bare['img'])


def test_the_whole_of_a_published_recipe_is_followed():
    policies = dict(type='RandAugment', policies='timm_increasing', num_policies=2)
    policies.update(total_level=10, magnitude_level=9, magnitude_std=0.5)
    recipe = [*GEOMETRIC['random_resized_crop'], *GEOMETRIC['flip'], policies, dict(type='RandomErasing')]
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for seed in range(20):
        set_random_seed(seed)
        assert RecordView(recipe)({'img': image})['view'].isfinite().all()
    assert (
        RecordView([dict(type='AutoAugment', policies='imagenet')])({'img': image})['img'].shape
        == image.shape
    )


def test_loading_may_be_among_the_transforms(tmp_path):
    Image.new('RGB', (24, 16)).save(tmp_path / 'image.jpg')
    load = dict(type='LoadImageFromFile')
    results = RecordView([load, dict(type='RandomFlip', prob=1.0)])({'img_path': str(tmp_path / 'image.jpg')})
    torch.testing.assert_close(results['view'], torch.tensor([[-1.0, 0, 0], [0, 1, 0]]))


@pytest.mark.parametrize('name', ['resize', 'flip', 'crop', 'rotate', 'lsj'])
def test_mmdets_own_record_stays_right_and_is_honoured(name):
    transforms = [*MMDET['lsj'], *MMDET[name]]
    for seed in range(5):
        set_random_seed(seed)
        bare = results_of(picture_of_coordinates(40, 50))
        for transform in transforms:
            bare = TRANSFORMS.build(transform)(bare)
        set_random_seed(seed)
        inside = RecordView(transforms)(results_of(picture_of_coordinates(40, 50)))
        np.testing.assert_allclose(inside['homography_matrix'], bare['homography_matrix'], rtol=1e-5)
        set_random_seed(seed)
        behind = results_of(picture_of_coordinates(40, 50))
        for transform in MMDET['lsj']:
            behind = TRANSFORMS.build(transform)(behind)
        behind = RecordView(MMDET[name])(behind)
        torch.testing.assert_close(behind['view'], inside['view'], atol=1e-3, rtol=1e-3)
        np.testing.assert_allclose(behind['homography_matrix'], bare['homography_matrix'], rtol=1e-5)


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        ('random_resized_crop', 'flip'),
        ('all', 'random_resized_crop'),
        # Some of these keep mmdet's homography, and some do not.
        ('mmdet_random_affine', 'mmdet_flip'),
        ('mmdet_expand', 'mmdet_flip'),
        ('mmdet_flip', 'mmdet_random_affine'),
        ('mmdet_lsj', 'mmdet_crop'),
    ],
)
def test_two_in_a_row_record_what_one_of_all_steps_does(first, second):
    def loaded():
        picture = picture_of_coordinates(40, 50)
        return results_of(picture) if first.startswith('mmdet') else dict(img=picture, ori_shape=(40, 50))

    for seed in range(5):
        set_random_seed(seed)
        together = RecordView([*GEOMETRIC[first], *GEOMETRIC[second]])(loaded())
        set_random_seed(seed)
        apart = RecordView(GEOMETRIC[second])(RecordView(GEOMETRIC[first])(loaded()))
        np.testing.assert_array_equal(apart['img'], together['img'])
        torch.testing.assert_close(apart['view'], together['view'], atol=1e-4, rtol=1e-4)
        refuse_unrecorded_changes({**apart, 'img_path': '1.jpg'})


def test_what_moves_a_picture_between_two_is_refused_though_a_homography_tells_of_it():
    results = RecordView(GEOMETRIC['random_resized_crop'])(results_of(picture_of_coordinates(40, 50)))
    flipped = TRANSFORMS.build(dict(type='mmdet.RandomFlip', prob=1.0))({**results, 'img_path': '1.jpg'})
    with pytest.raises(UsageError, match=r'picture of 1.jpg was moved between two lfi.RecordView'):
        RecordView([])(flipped)
    # Of mmdet's steps the homography tells all.
    set_random_seed(0)
    whole = RecordView([*MMDET['crop'], dict(type='mmdet.RandomFlip', prob=1.0)])
    whole = whole(results_of(picture_of_coordinates(40, 50)))
    set_random_seed(0)
    results = RecordView(MMDET['crop'])(results_of(picture_of_coordinates(40, 50)))
    results = RecordView([])(TRANSFORMS.build(dict(type='mmdet.RandomFlip', prob=1.0))(results))
    torch.testing.assert_close(results['view'], whole['view'], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('mixing', ['Mosaic', 'MixUp', 'CopyPaste', 'MinIoURandomCrop'])
def test_mmdets_transforms_that_show_several_images_are_refused(mixing):
    with pytest.raises(ValueError, match=f'RecordView cannot follow {mixing}: there is no rule'):
        RecordView([dict(type=f'mmdet.{mixing}')])


def test_mmsegs_colours_move_nothing_and_what_hides_its_draws_is_refused():
    pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    steps = [dict(type='mmseg.PhotoMetricDistortion'), dict(type='mmseg.RandomCutOut', prob=1.0, n_holes=1)]
    steps[1].update(cutout_shape=(4, 4))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert torch.equal(RecordView(steps)(dict(img=pixels))['view'], torch.eye(2, 3))
    with pytest.raises(ValueError, match='RecordView cannot follow RandomRotFlip: there is no rule'):
        RecordView([dict(type='mmseg.RandomRotFlip')])


@pytest.mark.parametrize('wrap', [lambda t: t, lambda t: dict(type='RandomApply', transforms=[t])])
def test_a_transform_without_a_rule_is_named(wrap):
    unknown = dict(type='EfficientNetCenterCrop', crop_size=24)
    with pytest.raises(ValueError, match='RecordView cannot follow EfficientNetCenterCrop: there is no rule'):
        RecordView([dict(type='RandomFlip', prob=0.5), wrap(unknown)])


def test_a_rule_can_be_added():
    class Shift(BaseTransform):
        def transform(self, results):
            results['img'] = np.roll(results['img'], 8, 1)
            return results

    @view_matrix.register
    def _(transform: Shift, before, results):
        return np.array([[1, 0, -8], [0, 1, 0], [0, 0, 1.0]])

    view = RecordView([Shift()])({'img': picture_of_coordinates(32, 32)})['view']
    torch.testing.assert_close(view, torch.tensor([[1.0, 0, -0.5], [0, 1, 0]]))


def test_what_follows_may_write_into_the_image():
    init_default_scope('mmdet')
    flip = RecordView([dict(type='RandomFlip', prob=1.0)])
    colour = mmdet_transforms.YOLOXHSVRandomAug()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert colour(flip(dict(img=pixels, img_shape=(6, 8))))['img'].shape == (6, 8, 3)


def test_a_transform_that_drops_the_image_ends_the_run():
    class Drop(RandomCrop):
        def transform(self, results):
            return None

    assert RecordView([Drop(crop_size=4)])({'img': picture_of_coordinates(8, 8)}) is None


def test_a_spawned_worker_knows_mmdets_rules(new_python, tmp_path):
    crop = dict(type='mmdet.RandomCrop', crop_size=(20, 20))
    (tmp_path / 'transform.pkl').write_bytes(pickle.dumps(RecordView([crop])))
    process = new_python.run(['-c', UNPICKLE, 'transform.pkl'], tmp_path)
    assert process.returncode == 0, process.stdout
