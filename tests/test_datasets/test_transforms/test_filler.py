"""Where a picture shows filler, or what was painted over it, no cached map is taught: against its pixels."""

import copy
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.datasets import RecordView
from lfi.datasets.transforms.mixed_sources import tiles_of
from lfi.registry import TRANSFORMS
from lfi.structures import image_windows, place_tiles, valid_locations
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

GRID = (5, 5)
# Filler is 0; mmdet's MixUp makes whole numbers of what it mixes.
FULL = 200
ALWAYS = dict(prob=1.0, interpolation='bilinear', pad_val=0)
PLAIN = [
    dict(type='RandomResizedCrop', scale=(48, 40)),
    dict(type='EfficientNetRandomCrop', scale=40),
    dict(type='ResizeEdge', scale=44),
    dict(type='CenterCrop', crop_size=(30, 34)),
    dict(type='CenterCrop', crop_size=(66, 50), auto_pad=True, pad_cfg=dict(type='Pad', pad_val=0)),
    dict(type='RandomCrop', crop_size=(40, 36), padding=(4, 6, 8, 2), pad_if_needed=True, pad_val=0),
    dict(type='Pad', size_divisor=32, pad_val=0),
    dict(type='Shear', magnitude=0.4, direction='horizontal', **ALWAYS),
    dict(type='Shear', magnitude=0.3, direction='vertical', **ALWAYS),
    dict(type='Translate', magnitude=0.4, direction='horizontal', **ALWAYS),
    dict(type='Translate', magnitude=0.3, direction='vertical', **ALWAYS),
    dict(type='Rotate', angle=35.0, **ALWAYS),
    dict(type='Rotate', angle=20.0, center=(10.0, 5.0), scale=0.7, **ALWAYS),
    dict(type='RandomErasing', erase_prob=1.0, mode='const', fill_color=(0, 0, 0), min_area_ratio=0.1),
    dict(type='Cutout', shape=20, pad_val=0, prob=1.0),
]
IN_CLASSIFICATION = [
    *PLAIN,
    dict(type='RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='Resize', scale=(40, 52)),
    dict(type='RandomResize', scale=(50, 40), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomChoiceResize', scales=[(50, 30), (44, 60)]),
]
IN_SEGMENTATION = [
    dict(type='mmseg.RandomCrop', crop_size=(36, 40)),
    dict(type='mmseg.RandomRotate', prob=1.0, degree=30, pad_val=0),
    dict(type='mmseg.RandomRotate', prob=1.0, degree=(10, 30), pad_val=0, auto_bound=True),
    dict(type='mmseg.ResizeToMultiple', size_divisor=8),
    dict(type='mmseg.ResizeShortestEdge', scale=(40, 50), max_size=64),
    dict(type='mmseg.RandomCutOut', prob=1.0, n_holes=2, cutout_ratio=(0.3, 0.4), fill_in=(0, 0, 0)),
]
BLACK = dict(prob=1.0, img_border_value=0)
IN_DETECTION = [
    dict(type='mmdet.Resize', scale=(56, 44), keep_ratio=True),
    dict(type='mmdet.FixShapeResize', width=48, height=40, keep_ratio=True, pad_val=0),
    dict(type='mmdet.RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='mmdet.RandomCrop', crop_size=(30, 34), allow_negative_crop=True),
    dict(type='mmdet.Pad', size=(70, 64), pad_val=0),
    dict(type='mmdet.Expand', mean=(0, 0, 0), ratio_range=(1, 2), prob=1.0),
    dict(type='mmdet.RandomAffine', border_val=(0, 0, 0), max_rotate_degree=30),
    dict(type='mmdet.Rotate', level=9, **BLACK),
    dict(type='mmdet.ShearX', level=9, **BLACK),
    dict(type='mmdet.ShearY', level=9, **BLACK),
    dict(type='mmdet.TranslateX', level=9, max_mag=0.4, **BLACK),
    dict(type='mmdet.TranslateY', level=9, max_mag=0.4, **BLACK),
    dict(type='mmdet.CutOut', n_holes=2, cutout_ratio=[(0.3, 0.4)], fill_in=(0, 0, 0)),
    dict(type='mmdet.RandomErasing', n_patches=2, ratio=0.3, img_border_value=0, bbox_erased_thr=1.1),
]
WITH_MASKS = [step for step in IN_DETECTION if 'Affine' not in step['type']]
MOSAIC = dict(type='lfi.RecordedMosaic', img_scale=(48, 48), pad_val=0)
CACHED_MOSAIC = dict(type='lfi.RecordedCachedMosaic', img_scale=(48, 48), pad_val=0)
MIXUP = dict(type='lfi.RecordedMixUp', img_scale=(64, 64), pad_val=0)
CACHED_MIXUP = dict(type='lfi.RecordedCachedMixUp', img_scale=(64, 64), pad_val=0)
COPY_PASTE = dict(type='lfi.RecordedCopyPaste')


def chains(of, longest=5):
    return st.lists(st.sampled_from(of), min_size=1, max_size=longest)


def picture(height, width):
    """(H, W, 3) float32, one colour all over."""
    return np.full((height, width, 3), FULL, np.float32)


def loaded(i, height, width):
    boxes = torch.tensor([[1.0, 1.0, width - 1.0, height - 1.0]])
    return dict(
        img=picture(height, width),
        img_path=f'/data/{i}.jpg',
        img_shape=(height, width),
        ori_shape=(height, width),
        gt_bboxes=HorizontalBoxes(boxes),
        gt_ignore_flags=np.zeros(1, bool),
        gt_bboxes_labels=np.zeros(1, np.int64),
    )


def taught(results):
    """Which locations learn from a cache's maps, (H, W) bool."""
    paths, tiles = tiles_of(results)
    if tiles is None:
        return np.ones(GRID, bool)
    placement = place_tiles([tiles], GRID, image_windows((1, 1), [(1, 1)], 'cpu'))
    return valid_locations(placement.share[0].sum(0)).numpy()


def mean_of_locations(pixels):
    """(H, W) pixels, the mean of each location of the grid, by the area of its pixels."""
    for axis, n in enumerate(GRID):
        edges = np.arange(n + 1) * pixels.shape[axis] / n
        low = np.arange(pixels.shape[axis])
        weight = np.clip(np.minimum(edges[1:, None], low + 1) - np.maximum(edges[:-1, None], low), 0, None)
        weight /= weight.sum(1, keepdims=True)
        pixels = weight @ pixels if axis == 0 else pixels @ weight.T
    return pixels


def check(results, shows=None):
    """Compare what is taught with what the pixels show."""
    shown = mean_of_locations(results['img'][..., 0] / FULL if shows is None else shows)
    valid = taught(results)
    assert not valid[shown <= 0.4].any(), shown[valid].min()
    assert valid[shown >= 0.6].all(), shown[~valid].max()


def view_of(steps, results):
    return RecordView(copy.deepcopy(steps))(results)


@pytest.mark.usefixtures('mmpretrain_scope')
@settings(max_examples=60)
@given(chain=chains(IN_CLASSIFICATION), seed=st.integers(0, 2**31 - 1))
def test_filler_is_not_taught_in_classification(chain, seed):
    set_random_seed(seed)
    check(view_of(chain, {k: v for k, v in loaded(0, 60, 72).items() if not k.startswith('gt_')}))


@pytest.mark.skipif(find_spec('mmseg') is None, reason='mmseg is not installed')
@pytest.mark.usefixtures('mmpretrain_scope')
@settings(max_examples=60)
@given(chain=chains([*IN_SEGMENTATION, *PLAIN]), seed=st.integers(0, 2**31 - 1))
def test_filler_is_not_taught_in_segmentation(chain, seed):
    set_random_seed(seed)
    # The steps of mmpretrain leave the classes where they are, and mmseg's crop counts them.
    classes = np.zeros((300, 300), np.uint8)
    results = {k: v for k, v in loaded(0, 60, 72).items() if not k.startswith('gt_')}
    check(view_of(chain, {**results, 'gt_seg_map': classes, 'seg_fields': []}))


@settings(max_examples=60)
@given(chain=chains(IN_DETECTION), seed=st.integers(0, 2**31 - 1))
def test_filler_is_not_taught_in_detection(chain, seed):
    init_default_scope('mmdet')
    set_random_seed(seed)
    results = view_of(chain, loaded(0, 60, 72))
    if results is not None:
        check(results)


@settings(max_examples=60)
@given(
    before=chains(IN_DETECTION, 3),
    mixers=st.lists(st.sampled_from([MOSAIC, CACHED_MOSAIC, MIXUP, CACHED_MIXUP]), min_size=1, max_size=2),
    after=chains(IN_DETECTION, 5),
    seed=st.integers(0, 2**31 - 1),
)
def test_filler_is_not_taught_in_mixed_pictures(before, mixers, after, seed):
    init_default_scope('mmdet')
    set_random_seed(seed)
    load = iter(range(1000))

    def one():
        # A crop may leave no object, and then mmdet draws another image.
        results = None
        while results is None or not len(results['gt_bboxes']):
            results = view_of(before, loaded(next(load), 60, 72))
        return results

    results = one()
    for mixer in mixers:
        step = TRANSFORMS.build(mixer)
        if hasattr(step, 'results_cache'):
            step.results_cache.extend(one() for _ in range(5))
        results = step(
            {**results, 'mix_results': [one() for _ in range(3 if 'Mosaic' in mixer['type'] else 1)]}
        )
        results.pop('mix_results')
    results = view_of(after, results)
    if results is not None:
        check(results)


@settings(max_examples=30)
@given(
    before=chains(WITH_MASKS, 3),
    after=chains(WITH_MASKS, 5),
    seed=st.integers(0, 2**31 - 1),
)
def test_filler_is_not_taught_where_objects_are_pasted(before, after, seed):
    init_default_scope('mmdet')
    set_random_seed(seed)
    before = [*before, dict(type='mmdet.Resize', scale=(64, 64))]

    def one(i):
        results = loaded(i, 60, 72)
        masks = np.zeros((1, 60, 72), np.uint8)
        masks[0, 10:50, 10:50] = 1
        return view_of(before, {**results, 'gt_masks': BitmapMasks(masks, 60, 72)})

    own, other = one(0), one(1)
    if own is None or other is None or not len(own['gt_bboxes']) or not len(other['gt_bboxes']):
        return
    results = TRANSFORMS.build(COPY_PASTE)({**own, 'mix_results': [other]})
    results.pop('mix_results')
    results = view_of(after, results)
    if results is not None:
        check(results)


@pytest.mark.usefixtures('mmpretrain_scope')
@pytest.mark.parametrize('mode', ['reflect', 'edge', 'symmetric'])
@pytest.mark.parametrize(
    'step',
    [
        dict(type='RandomCrop', crop_size=60, padding=24),
        dict(type='CenterCrop', crop_size=90, auto_pad=True, pad_cfg=dict(type='Pad')),
        dict(type='Pad', size=(96, 96)),
    ],
    ids=lambda step: step['type'],
)
def test_mirrored_borders_are_filler(step, mode):
    if step['type'] == 'CenterCrop':
        step = {**step, 'pad_cfg': dict(type='Pad', padding_mode=mode)}
    else:
        step = {**step, 'padding_mode': mode}
    for seed in range(10):
        set_random_seed(seed)
        results = view_of(
            [step, dict(type='Translate', magnitude=0.2, **ALWAYS)],
            {k: v for k, v in loaded(0, 60, 60).items() if not k.startswith('gt_')},
        )
        # Where a mirrored or a repeated pixel is, another one is to be.
        height, width = results['img'].shape[:2]
        y, x = ((2 * np.arange(n) + 1) / n - 1 for n in (height, width))
        x, y = np.broadcast_arrays(x, y[:, None])
        own = np.tensordot(results['view'].numpy(), np.stack((x, y, np.ones_like(x))), 1)
        check(results, (np.abs(own) < 1).all(0) & (results['img'][..., 0] > FULL / 2))


@pytest.mark.usefixtures('mmpretrain_scope')
def test_what_an_earlier_step_cut_off_does_not_come_back():
    results = {k: v for k, v in loaded(0, 64, 64).items() if not k.startswith('gt_')}
    shift = dict(type='Translate', magnitude=0.5, random_negative_prob=0.0, **ALWAYS)
    steps = [dict(type='CenterCrop', crop_size=32), shift]
    view = RecordView(steps)(results)
    paths, tiles = tiles_of(view)
    assert paths == ['/data/0.jpg']
    # To the right of it lies the image's other half, which the crop has cut off.
    torch.testing.assert_close(tiles.windows, torch.tensor([[[0.5, 1.0], [0.0, 1.0]]]))
    torch.testing.assert_close(tiles.views, torch.tensor([[[0.25, 0, -0.25], [0, 0.5, 0]]]))


@pytest.mark.usefixtures('mmpretrain_scope')
def test_a_picture_that_one_image_fills_has_its_view_alone():
    steps = [
        dict(type='RandomResizedCrop', scale=40),
        dict(type='RandomFlip', prob=1.0),
        dict(type='Resize', scale=(64, 48)),
        dict(type='CenterCrop', crop_size=32),
    ]
    for seed in range(20):
        set_random_seed(seed)
        results = {k: v for k, v in loaded(0, 61, 83).items() if not k.startswith('gt_')}
        assert tiles_of(view_of(steps, results)) == (['/data/0.jpg'], None)


@pytest.mark.usefixtures('mmpretrain_scope')
@pytest.mark.parametrize(('size', 'cells'), [(224, 14), (1024, 64), (1344, 84)])
def test_an_erased_part_is_seen_on_a_fine_grid(monkeypatch, size, cells):
    monkeypatch.setattr(f'{__name__}.GRID', (cells, cells))
    for seed in range(2):
        set_random_seed(seed)
        results = {k: v for k, v in loaded(0, size, size).items() if not k.startswith('gt_')}
        erase = dict(type='RandomErasing', erase_prob=1.0, mode='const', fill_color=(0, 0, 0))
        check(view_of([erase], results))


@pytest.mark.usefixtures('mmpretrain_scope')
def test_a_small_crop_of_a_large_picture_that_was_turned_is_as_exact():
    results = {k: v for k, v in loaded(0, 1600, 1600).items() if not k.startswith('gt_')}
    turn = dict(type='Rotate', angle=33.0, center=(0.0, 0.0), random_negative_prob=0.0, **ALWAYS)
    for shift in (-0.45, -0.3, 0.3):
        steps = [turn, dict(type='Translate', magnitude=shift, random_negative_prob=0.0, **ALWAYS)]
        check(view_of([*steps, dict(type='CenterCrop', crop_size=40)], {**results}))
