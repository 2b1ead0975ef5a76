"""mmdet's steps that mix, and what is recorded of them, against pictures of their own coordinates."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.datasets import LoadInteractionMaps, RecordView
from lfi.datasets.transforms.record_view import MIXED
from lfi.errors import UsageError
from lfi.registry import TRANSFORMS
from lfi.structures import InteractionMaps, image_windows, mix_maps, place_tiles, unpack
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.runner import set_random_seed
from written_cache import write_cache

pytestmark = pytest.mark.usefixtures('mmdet_scope')

SIZES = [(60, 80), (96, 64), (72, 72), (50, 90), (64, 64)]
PATHS = [f'/data/{i}.jpg' for i in range(len(SIZES))]
MOSAIC = dict(type='lfi.RecordedMosaic', img_scale=(64, 64))
CACHED = dict(type='lfi.RecordedCachedMosaic', img_scale=(64, 64))
MIXUP = dict(type='lfi.RecordedMixUp', img_scale=(64, 64), ratio_range=(0.8, 1.6))
CACHED_MIXUP = dict(type='lfi.RecordedCachedMixUp', img_scale=(64, 64), ratio_range=(0.8, 1.6))
COPY_PASTE = dict(type='lfi.RecordedCopyPaste')
AFFINE = dict(
    type='RandomAffine', border=(-32, -32), max_rotate_degree=0.0, max_shear_degree=0.0, border_val=(9, 9, 9)
)
TILTED = {**AFFINE, 'max_rotate_degree': 8.0, 'max_shear_degree': 2.0}
FLIP = dict(type='RandomFlip', prob=0.5)
RESIZE = dict(type='Resize', scale=(96, 96))


def smooth_picture(i, size):
    """(H, W, 3) uint8, of waves a third of the picture long and more."""
    rng = np.random.default_rng(i)
    y, x = (np.arange(n) / n for n in size)
    waves = [np.cos(2 * np.pi * (a * x + b * y[:, None]) + c) for a, b, c in rng.uniform(-2, 2, (3, 3))]
    return (127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


def image(i, picture=smooth_picture):
    return dict(
        img=picture(i, SIZES[i]),
        img_path=PATHS[i],
        img_shape=SIZES[i],
        ori_shape=SIZES[i],
        gt_bboxes=HorizontalBoxes(torch.tensor([[5.0, 5, 40, 40]])),
        gt_bboxes_labels=np.array([i]),
        gt_ignore_flags=np.zeros(1, bool),
    )


def with_masks(results):
    """Two objects in place of the one, a disc and a triangle."""
    height, width = results['img'].shape[:2]
    y, x = np.ogrid[:height, :width]
    masks = np.stack([(x - 25) ** 2 + (y - 20) ** 2 < 15**2, x + y > 0.6 * (height + width)])
    masks = BitmapMasks(masks.astype(np.uint8), height, width)
    return {
        **results,
        'gt_masks': masks,
        'gt_bboxes': masks.get_bboxes(HorizontalBoxes),
        'gt_bboxes_labels': np.repeat(results['gt_bboxes_labels'], 2),
        'gt_ignore_flags': np.zeros(2, bool),
    }


def mixed(steps, picture=smooth_picture, before=()):
    """Run steps as mmdet's `MultiImageMixDataset` does, over the five images."""
    prepare = RecordView(list(before)) if before else None

    def load(i):
        results = image(i, picture)
        if any('CopyPaste' in step['type'] for step in steps if isinstance(step, dict)):
            results = with_masks(results)
        return prepare(results) if prepare else results

    results = load(0)
    for step in steps:
        step = step if callable(step) else TRANSFORMS.build(step)
        for i in range(1, 5):
            if hasattr(step, 'results_cache'):
                step.results_cache.append(load(i))
        if type(step).__name__ in ('RecordedMosaic', 'Mosaic'):
            results['mix_results'] = [load(i) for i in (1, 2, 3)]
        if type(step).__name__ in ('RecordedMixUp', 'MixUp', 'RecordedCopyPaste', 'CopyPaste'):
            results['mix_results'] = [load(4)]
        results = step(results)
        results.pop('mix_results', None)
    return results


def coordinates(i, size):
    """Which image, and where in it: from -1 to 1."""
    y, x = ((2 * np.arange(n) + 1) / n - 1 for n in size)
    x, y = np.broadcast_arrays(x, y[:, None])
    return np.stack((np.full(size, i), x, y), -1).astype(np.float32)


def shown_at(results, sources, view):
    """Which source shows at each pixel, and where in its file; the last one, or -1."""
    height, width = results['img'].shape[:2]
    y, x = ((2 * np.arange(n) + 1) / n - 1 for n in (height, width))
    x, y = np.broadcast_arrays(x, y[:, None])
    points = np.stack((x, y, np.ones_like(x)), -1)
    which, where = np.full((height, width), -1), np.zeros((height, width, 2))
    for source in sources:
        here = np.ones((height, width), bool)
        for stencil in source.stencils:
            inside = (points @ (stencil.matrix @ view).T)[..., :2]
            here &= (np.abs(inside) < 1).all(-1)
            if stencil.mask is not None:
                n = stencil.mask.shape[::-1]
                j, i = (((inside[..., k] + 1) / 2 * n[k]).astype(int).clip(0, n[k] - 1) for k in (0, 1))
                here &= stencil.mask[i, j]
        which[here] = PATHS.index(source.path)
        where[here] = (points @ (source.view @ view).T)[here, :2]
    return which, where


STEPS = {
    'mosaic': [MOSAIC],
    'cached mosaic': [CACHED],
    'resize': [MOSAIC, RESIZE, dict(type='lfi.RecordView', transforms=[FLIP])],
    'affine': [MOSAIC, dict(type='lfi.RecordView', transforms=[TILTED, FLIP, RESIZE])],
    'a mosaic of a mosaic': [MOSAIC, dict(type='lfi.RecordView', transforms=[AFFINE]), MOSAIC],
    'cached, affine': [CACHED, dict(type='lfi.RecordView', transforms=[AFFINE, RESIZE])],
}
BEFORE = [dict(type='Resize', scale=(70, 50), keep_ratio=True), dict(type='RandomFlip', prob=0.5)]
MOSAIC_OF_MASKS = [
    CACHED,
    dict(
        type='lfi.RecordView',
        transforms=[dict(type='RandomCrop', crop_size=(64, 64), allow_negative_crop=True)],
    ),
]
SAME_SIZE = [dict(type='Resize', scale=(64, 64)), dict(type='RandomFlip', prob=0.5)]


@pytest.mark.parametrize('before', [(), BEFORE], ids=['as loaded', 'after a view'])
@pytest.mark.parametrize('name', STEPS)
def test_a_mosaic_shows_what_it_says(name, before):
    seen = set()
    for seed in range(4):
        set_random_seed(seed)
        results = mixed(STEPS[name], coordinates, before)
        view = np.vstack((results['view'].double().numpy(), [0, 0, 1]))
        which, where = shown_at(results, results[MIXED].sources, view)
        found = results['img']
        # Not where images meet, and interpolation mixes them.
        same = np.abs(found[..., 0] - which) < 1e-3
        assert (same | (which < 0)).mean() > 0.8
        seen.update(which[same])
        off = np.abs(found[..., 1:] - where)[same & (which >= 0)]
        assert np.median(off) < 0.02 and np.quantile(off, 0.95) < 0.08
    assert len(seen) >= 4


@pytest.mark.parametrize('mosaic', [False, True])
def test_pasted_objects_show_what_they_say(mosaic):
    seen = []
    for seed in range(6):
        set_random_seed(seed)
        first = MOSAIC_OF_MASKS if mosaic else []
        results = mixed(
            [*first, COPY_PASTE, dict(type='lfi.RecordView', transforms=[FLIP])], coordinates, SAME_SIZE
        )
        view = np.vstack((results['view'].double().numpy(), [0, 0, 1]))
        which, where = (
            shown_at(results, results[MIXED].sources, view) if MIXED in results else (np.zeros(1), 0)
        )
        seen.append((which == 4).mean())
        if MIXED in results:
            same = np.abs(results['img'][..., 0] - which) < 1e-3
            assert (same | (which < 0)).mean() > 0.8
            off = np.abs(results['img'][..., 1:] - where)[same & (which >= 0)]
            assert np.median(off) < 0.02 and np.quantile(off, 0.95) < 0.08
    # None, one or both of the objects; a mosaic may show the image too.
    assert max(seen) > 0.2 and (mosaic or min(seen) == 0)


@pytest.mark.parametrize(
    'ours', [MOSAIC, CACHED, MIXUP, CACHED_MIXUP, COPY_PASTE], ids=lambda ours: ours['type']
)
def test_pictures_and_boxes_are_mmdets(ours):
    for seed in range(5):
        found = []
        for step in (ours, {**ours, 'type': ours['type'].removeprefix('lfi.Recorded')}):
            set_random_seed(seed)
            found.append((mixed([step], before=SAME_SIZE), np.random.get_state()[2]))  # noqa: NPY002
        (recorded, drawn), (plain, expected) = found
        assert np.array_equal(recorded['img'], plain['img'])
        assert torch.equal(recorded['gt_bboxes'].tensor, plain['gt_bboxes'].tensor)
        if ours is COPY_PASTE:
            assert np.array_equal(recorded['gt_masks'].masks, plain['gt_masks'].masks)
        assert drawn == expected


# ---- the cache against a teacher that sees places one by one ---------------------------------------------


def covariant_teacher(picture, grid):
    """The mean colour of each cell."""
    colours = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 64
    return InteractionMaps(
        logits=F.adaptive_avg_pool2d(colours, grid)[:, None],
        presence=torch.eye(5)[:1, :3],
        valid=torch.ones(1, *grid, dtype=torch.bool),
    )


@pytest.fixture
def cache(tmp_path):
    maps = [covariant_teacher(smooth_picture(i, size), (32, 32)) for i, size in enumerate(SIZES)]
    joined = replace(
        maps[0],
        **{name: torch.cat([getattr(one, name) for one in maps]) for name in ('logits', 'presence', 'valid')},
    )
    return write_cache(tmp_path, {}, PATHS, np.eye(3, dtype=np.float32), joined)


def pasted(results, cache, grid=(12, 12)):
    stored = LoadInteractionMaps(cache)(dict(results))['interaction_maps']
    maps = unpack(stored.record, (-1,), ('spatial', 'semantic'), 'cpu')
    placement = place_tiles([stored.tiles], grid, image_windows((1, 1), [(1, 1)], 'cpu'))
    return mix_maps(placement.warp(placement.take(maps)), placement.share), placement.share


def correlation(first, second):
    return torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1].item()


AFTER = dict(type='lfi.RecordView', transforms=[AFFINE, FLIP, RESIZE])
DRAWN = dict(type='lfi.RecordView', transforms=[TILTED, FLIP, RESIZE])
PIPELINES = {
    'CopyPaste': [COPY_PASTE, dict(type='lfi.RecordView', transforms=[FLIP])],
    'Mosaic, CopyPaste': [*MOSAIC_OF_MASKS, COPY_PASTE],
    'Mosaic, a rotation': [MOSAIC, DRAWN],
    'Mosaic, a rotation, Mosaic': [MOSAIC, DRAWN, MOSAIC, AFTER],
    'Mosaic': [MOSAIC],
    'CachedMosaic': [CACHED],
    'Mosaic, views before and after': [MOSAIC, AFTER],
}


@pytest.mark.parametrize('name', PIPELINES)
def test_the_cache_says_of_a_mixture_what_a_covariant_teacher_sees(name, cache):
    found = []
    for seed in range(6):
        set_random_seed(seed)
        before = SAME_SIZE if 'CopyPaste' in name else BEFORE if 'before' in name else ()
        results = mixed(PIPELINES[name], before=before)
        if MIXED not in results:
            continue
        maps, share = pasted(results, cache)
        # Where the gray around the images is not in a location; covers are rounded to 255ths.
        full = share.sum(1)[0] > 0.994
        # Of each pixel, as a location of several images reads the mean of their probabilities.
        pixels = covariant_teacher(results['img'], results['img'].shape[:2]).semantic_log_probs().exp()[0, 0]
        online = F.adaptive_avg_pool2d(pixels, (12, 12))
        online, replayed = (x[..., full] for x in (online, maps.semantic_log_probs().exp()[0, 0]))
        if full.sum() > 10:
            found.append(correlation(online, replayed))
    assert len(found) > 2 and min(found) > 0.99


@pytest.mark.parametrize('name', ['Mosaic', 'Mosaic, a rotation', 'Mosaic, a rotation, Mosaic'])
def test_padding_is_where_no_image_shows(name, cache):
    """Not where images meet, in whatever direction, nor by the width of a number under autocast."""
    for seed in range(6):
        set_random_seed(seed)
        results = mixed(PIPELINES[name])
        _, share = pasted(results, cache)
        with torch.autocast('cpu', torch.bfloat16):
            _, by_half = pasted(results, cache)
        torch.testing.assert_close(by_half, share, atol=1e-5, rtol=0)
        view = np.vstack((results['view'].double().numpy(), [0, 0, 1]))
        which, _ = shown_at(results, results[MIXED].sources, view)
        shown = F.adaptive_avg_pool2d(torch.from_numpy(which >= 0).float()[None], (12, 12))
        # Half a pixel is a sixteenth of a location.
        torch.testing.assert_close(share.sum(1), shown, atol=0.08, rtol=0)


BLENDS = {
    'MixUp': [MIXUP],
    'MixUp, a view': [MIXUP, dict(type='lfi.RecordView', transforms=[FLIP, RESIZE])],
    'CachedMixUp, a view': [CACHED_MIXUP, dict(type='lfi.RecordView', transforms=[FLIP, RESIZE])],
    'Mosaic, MixUp, a view': [MOSAIC, AFTER, MIXUP, dict(type='lfi.RecordView', transforms=[FLIP])],
}


def blend_error(results):
    """How far the picture is from what its record makes of the images, where these fill it."""
    view = np.vstack((results['view'].double().numpy(), [0, 0, 1]))
    made, total = np.zeros(results['img'].shape), np.zeros(results['img'].shape[:2])
    for source in results[MIXED].sources:
        which, where = shown_at(results, [source], view)
        i, here = PATHS.index(source.path), which >= 0
        x, y = (
            ((where[here][:, axis] + 1) / 2 * n).astype(int).clip(0, n - 1)
            for axis, n in enumerate(SIZES[i][::-1])
        )
        made[here] += source.share * smooth_picture(i, SIZES[i])[y, x]
        total[here] += source.share
    full = total > 0.999
    assert full.any()
    return np.abs(made - results['img'])[full].mean()


@pytest.mark.parametrize('before', [(), BEFORE], ids=['as loaded', 'after a view'])
@pytest.mark.parametrize('name', BLENDS)
def test_a_blend_is_what_its_record_makes_of_the_pictures(name, before):
    for seed in range(6):
        set_random_seed(seed)
        assert blend_error(mixed(BLENDS[name], before=before)) < 5


RTMDET = [
    dict(type='lfi.RecordedCachedMosaic', img_scale=(64, 64)),
    dict(
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResize', scale=(128, 128), ratio_range=(0.5, 1.5), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(64, 64), allow_negative_crop=True),
            FLIP,
            dict(type='Pad', size=(64, 64), pad_val=dict(img=(114, 114, 114))),
        ],
    ),
    dict(type='lfi.RecordedCachedMixUp', img_scale=(64, 64), ratio_range=(1.0, 1.0)),
]
"""As in mmdet's config, at a tenth of its size: mosaics are mixed with mosaics of before."""


def streamed(steps):
    """What a worker makes of twelve images, one after the other."""
    steps = [TRANSFORMS.build(step) for step in steps]
    for i in range(12):
        results = image(i % 5)
        for step in steps:
            results = step(results)
        yield results


def test_rtmdets_pipeline_is_recorded_and_mmdets():
    plain = [{**step, 'type': step['type'].removeprefix('lfi.Recorded')} for step in RTMDET]
    plain[1]['type'] = 'lfi.RecordView'
    found = []
    for steps in (RTMDET, plain):
        set_random_seed(0)
        found.append(list(streamed(steps)))
    for ours, theirs in zip(*found):
        assert np.array_equal(ours['img'], theirs['img'])
        assert torch.equal(ours['gt_bboxes'].tensor, theirs['gt_bboxes'].tensor)
    many = [results for results in found[0] if MIXED in results and len(results[MIXED].sources) == 8]
    assert len(many) > 4
    for results in many:
        assert blend_error(results) < 5


def test_what_the_picture_does_not_show_is_not_read(cache):
    set_random_seed(0)
    results = mixed([MOSAIC])
    crop = dict(type='RandomCrop', crop_size=(40, 40), allow_negative_crop=True)
    kept = set()
    for _ in range(4):
        seen = RecordView([crop])(copy.deepcopy(results))
        stored = LoadInteractionMaps(cache)(seen)['interaction_maps']
        view = np.vstack((seen['view'].double().numpy(), [0, 0, 1]))
        which, _ = shown_at(seen, seen[MIXED].sources, view)
        assert len(stored.record) == max(len(set(which.flatten()) - {-1}), 1)
        kept.add(len(stored.record))
    assert min(kept) < 4


def test_the_shares_of_a_blend_are_halves(cache):
    set_random_seed(0)
    maps, share = pasted(mixed([MIXUP]), cache)
    assert share.shape[:2] == (1, 2)
    torch.testing.assert_close(share[0, 0], torch.full((12, 12), 0.5))
    assert share[0, 1].max().item() == pytest.approx(0.5, abs=1e-5)
    assert maps.valid.all()


def test_it_travels_to_a_worker(cache):
    steps = [pickle.loads(pickle.dumps(TRANSFORMS.build(step))) for step in (MOSAIC, AFTER)]
    set_random_seed(0)
    results = mixed(steps)
    stored = LoadInteractionMaps(cache)(results)['interaction_maps']
    again = pickle.loads(pickle.dumps(stored))
    assert again.tiles.views.equal(stored.tiles.views)


def test_a_mask_travels_as_few_bytes(cache):
    set_random_seed(0)
    results = next(
        made for made in (mixed([COPY_PASTE], before=SAME_SIZE) for _ in range(9)) if MIXED in made
    )
    stored = LoadInteractionMaps(cache)(results)['interaction_maps']
    assert stored.tiles.coverage.shape == (2, 128, 128)
    own, pasted_ = stored.tiles.coverage
    assert (own + pasted_ == 255).all() and 0 < pasted_.mean() < 255
    assert len(pickle.dumps(stored)) < 45_000


def test_a_mosaic_that_is_left_out_is_an_image(cache):
    results = mixed([{**MOSAIC, 'prob': 0.0}, dict(type='lfi.RecordView', transforms=[FLIP])])
    stored = LoadInteractionMaps(cache)(results)['interaction_maps']
    assert stored.tiles is None and len(stored.record) == 1


@pytest.mark.parametrize(
    'steps',
    [
        [MOSAIC, dict(type='Resize', scale=(96, 80))],
        [MOSAIC, AFTER, dict(type='Resize', scale=(50, 50))],
        [dict(type='Resize', scale=(96, 80)), MOSAIC],
        [MOSAIC, dict(type='Resize', scale=(96, 80)), MIXUP],
    ],
)
def test_a_step_that_moves_pixels_outside_is_refused(steps, cache):
    with pytest.raises(UsageError, match='lfi.RecordView has changed the image'):
        LoadInteractionMaps(cache)(mixed(steps))


@pytest.mark.parametrize('after', [dict(type='lfi.RecordView', transforms=[FLIP]), MIXUP])
def test_maps_that_are_read_before_the_picture_is_done_are_refused(after, cache):
    with pytest.raises(UsageError, match=r'/data/0\.jpg: lfi\.LoadInteractionMaps stands before a step'):
        mixed([MOSAIC, LoadInteractionMaps(cache), after])
