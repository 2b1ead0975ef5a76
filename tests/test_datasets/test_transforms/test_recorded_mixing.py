"""mmdet's Mosaic and MixUp, and what is recorded of them, against pictures of their own coordinates."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.datasets import LoadInteractionMaps, RecordView
from lfi.datasets.transforms.record_view import MIXED
from lfi.errors import UsageError
from lfi.models.teachers import CacheManifest, CacheWriter
from lfi.registry import TRANSFORMS
from lfi.structures import InteractionMaps, mix_maps, pack, piece_maps, unpack
from lfi.structures.interaction_cache import keys_of
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

SIZES = [(60, 80), (96, 64), (72, 72), (50, 90), (64, 64)]
PATHS = [f'/data/{i}.jpg' for i in range(len(SIZES))]
MOSAIC = dict(type='lfi.RecordedMosaic', img_scale=(64, 64))
CACHED = dict(type='lfi.RecordedCachedMosaic', img_scale=(64, 64))
MIXUP = dict(type='lfi.RecordedMixUp', img_scale=(64, 64), ratio_range=(0.8, 1.6))
AFFINE = dict(
    type='RandomAffine', border=(-32, -32), max_rotate_degree=0.0, max_shear_degree=0.0, border_val=(9, 9, 9)
)
TILTED = {**AFFINE, 'max_rotate_degree': 8.0, 'max_shear_degree': 2.0}
FLIP = dict(type='RandomFlip', prob=0.5)
RESIZE = dict(type='Resize', scale=(96, 96))


@pytest.fixture(autouse=True)
def mmdet_scope():
    init_default_scope('mmdet')


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


def mixed(steps, picture=smooth_picture, before=()):
    """Run steps as mmdet's `MultiImageMixDataset` does, over the five images."""
    prepare = RecordView(list(before)) if before else None

    def load(i):
        return prepare(image(i, picture)) if prepare else image(i, picture)

    results = load(0)
    for step in steps:
        step = step if callable(step) else TRANSFORMS.build(step)
        for i in range(1, 5):
            if hasattr(step, 'results_cache'):
                step.results_cache.append(load(i))
        if type(step).__name__ in ('RecordedMosaic', 'Mosaic'):
            results['mix_results'] = [load(i) for i in (1, 2, 3)]
        if type(step).__name__ in ('RecordedMixUp', 'MixUp'):
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
        inside = points @ (source.region @ view).T
        here = (np.abs(inside[..., :2]) < 1).all(-1)
        which[here] = PATHS.index(source.path)
        where[here] = (points @ (source.view @ view).T)[here, :2]
    return which, where


STEPS = {
    'mosaic': [MOSAIC],
    'cached mosaic': [CACHED],
    'resize': [MOSAIC, RESIZE, dict(type='lfi.RecordView', transforms=[FLIP])],
    'affine': [MOSAIC, dict(type='lfi.RecordView', transforms=[TILTED, FLIP, RESIZE])],
    'cached, affine': [CACHED, dict(type='lfi.RecordView', transforms=[AFFINE, RESIZE])],
}
BEFORE = [dict(type='Resize', scale=(70, 50), keep_ratio=True), dict(type='RandomFlip', prob=0.5)]


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


@pytest.mark.parametrize(('ours', 'theirs'), [(MOSAIC, 'Mosaic'), (CACHED, 'CachedMosaic'), (MIXUP, 'MixUp')])
def test_pictures_and_boxes_are_mmdets(ours, theirs):
    for seed in range(5):
        found = []
        for step in (ours, {**ours, 'type': theirs}):
            set_random_seed(seed)
            found.append((mixed([step]), np.random.get_state()[2]))  # noqa: NPY002
        (recorded, drawn), (plain, expected) = found
        assert np.array_equal(recorded['img'], plain['img'])
        assert torch.equal(recorded['gt_bboxes'].tensor, plain['gt_bboxes'].tensor)
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
    records = np.concatenate([pack(one) for one in maps])
    keys, texts = keys_of(PATHS, 2), np.eye(3, dtype=np.float32)
    manifest = CacheManifest.of({}, keys, 2, texts, maps[0])
    CacheWriter(tmp_path, manifest, keys, texts).write(0, records)
    return str(tmp_path)


def pasted(results, cache, grid=(12, 12)):
    stored = LoadInteractionMaps(cache)(results)['interaction_maps']
    maps = unpack(stored.record, (-1,), ('positions', 'concepts'), 'cpu')
    maps = maps.warp(stored.pieces.views, grid)
    sources, share = piece_maps(maps, [stored.pieces])
    return mix_maps(sources, share, 3), share


def correlation(first, second):
    return torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1].item()


AFTER = dict(type='lfi.RecordView', transforms=[AFFINE, FLIP, RESIZE])
PIPELINES = {
    'Mosaic': [MOSAIC],
    'CachedMosaic': [CACHED],
    'Mosaic, views before and after': [MOSAIC, AFTER],
}


@pytest.mark.parametrize('name', PIPELINES)
def test_the_cache_says_of_a_mixture_what_a_covariant_teacher_sees(name, cache):
    found = []
    for seed in range(6):
        set_random_seed(seed)
        results = mixed(PIPELINES[name], before=BEFORE if 'before' in name else ())
        maps, share = pasted(results, cache)
        # Where the gray around the images is not in a location.
        full = share.sum(1)[0] > 0.999
        online = covariant_teacher(results['img'], (12, 12)).logits[0, 0]
        online, replayed = (x[..., full] for x in (online, maps.logits[0, 0]))
        if full.sum() > 10:
            found.append(correlation(online, replayed))
    assert len(found) > 2 and min(found) > 0.99


BLENDS = {
    'MixUp': [MIXUP],
    'MixUp, a view': [MIXUP, dict(type='lfi.RecordView', transforms=[FLIP, RESIZE])],
    'Mosaic, MixUp, a view': [MOSAIC, AFTER, MIXUP, dict(type='lfi.RecordView', transforms=[FLIP])],
}


@pytest.mark.parametrize('before', [(), BEFORE], ids=['as loaded', 'after a view'])
@pytest.mark.parametrize('name', BLENDS)
def test_a_blend_is_what_its_record_makes_of_the_pictures(name, before):
    for seed in range(6):
        set_random_seed(seed)
        results = mixed(BLENDS[name], before=before)
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
        assert np.abs(made - results['img'])[full].mean() < 5


def test_the_shares_of_a_blend_are_halves(cache):
    set_random_seed(0)
    maps, share = pasted(mixed([MIXUP]), cache)
    assert share.shape[:2] == (1, 2)
    torch.testing.assert_close(share[0, 0], torch.full((12, 12), 0.5))
    assert share[0, 1].max().item() == pytest.approx(0.5)
    assert maps.valid.all()


def test_it_travels_to_a_worker(cache):
    steps = [pickle.loads(pickle.dumps(TRANSFORMS.build(step))) for step in (MOSAIC, AFTER)]
    set_random_seed(0)
    results = mixed(steps)
    stored = LoadInteractionMaps(cache)(results)['interaction_maps']
    again = pickle.loads(pickle.dumps(stored))
    assert again.pieces.views.equal(stored.pieces.views)


def test_a_mosaic_that_is_left_out_is_an_image(cache):
    results = mixed([{**MOSAIC, 'prob': 0.0}, dict(type='lfi.RecordView', transforms=[FLIP])])
    stored = LoadInteractionMaps(cache)(results)['interaction_maps']
    assert stored.pieces is None and len(stored.record) == 1


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


def test_a_mosaic_of_mosaics_is_refused():
    with pytest.raises(UsageError, match='lfi.RecordedMosaic gets an image that is mixed already'):
        mixed([MOSAIC, MOSAIC])
