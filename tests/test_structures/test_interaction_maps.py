"""`InteractionMaps`: its checks, its two readings, and how it is resized, warped and picked from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.structures import OTHER, InteractionMaps

few_examples = settings(max_examples=20, derandomize=True)
sizes = st.integers(1, 9)
grids = st.tuples(sizes, sizes)

IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
MIRROR = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def make_maps(b=2, n_layers=2, m=3, h=4, w=5, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    fields = dict(
        logits=torch.randn(b, n_layers, m, h, w, generator=generator),
        presence=torch.rand(b, m, generator=generator),
        valid=torch.ones(b, h, w, dtype=torch.bool),
        layers=tuple(range(n_layers)),
    )
    return InteractionMaps(**{**fields, **kwargs})


def random_valid(b, h, w, seed=0):
    """A mask with at least one valid position an image."""
    valid = torch.rand(b, h, w, generator=torch.Generator().manual_seed(seed)) < 0.5
    valid[:, 0, 0] = True
    return valid


def crop_view(top, left, h, w, height, width):
    """The view that shows the rows `top : top + h` and columns `left : left + w` of a picture."""
    return torch.tensor(
        [[[w / width, 0, (2 * left + w) / width - 1], [0, h / height, (2 * top + h) / height - 1]]]
    )


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('logits', torch.zeros(2, 3, 4, 5)),
        ('logits', torch.zeros(2, 2, 3, 4, 5, dtype=torch.float64)),
        ('logits', torch.zeros(2, 2, 3, 4, 5, dtype=torch.bfloat16)),
        ('presence', torch.zeros(2, 4)),
        ('valid', torch.ones(2, 4, 4, dtype=torch.bool)),
        ('valid', torch.ones(2, 4, 5)),
        ('concepts', torch.zeros(2, 4, dtype=torch.long)),
        ('layers', (0,)),
        ('directions', ()),
        ('directions', ('spatial', 'sideways')),
    ],
)
def test_a_wrong_shape_dtype_or_direction_names_the_field(field, value):
    with pytest.raises(ValueError, match=f'^{field} must'):
        make_maps(**{field: value})


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('logits', torch.full((2, 2, 3, 4, 5), float('nan')), r'logits hold a non-finite value .* \[0, 1\]'),
        ('logits', torch.full((2, 2, 3, 4, 5), float('-inf')), r'logits hold a non-finite value .* \[0, 1\]'),
        ('presence', torch.full((2, 3), 1.01), r'presence is not finite or outside'),
        ('presence', torch.full((2, 3), float('nan')), r'presence is not finite or outside'),
        ('concepts', torch.full((2, 3), OTHER - 1), 'concepts must be indices'),
    ],
)
def test_check_names_the_field_of_a_wrong_value(field, value, message):
    with pytest.raises(ValueError, match=message):
        make_maps(**{field: value}).check()


def test_check_returns_sound_maps():
    maps = make_maps(concepts=torch.tensor([[0, 5, OTHER]] * 2))
    assert maps.check() is maps
    assert maps.grid == (4, 5)


@few_examples
@given(grid=grids, seed=st.integers(0, 99), temperature=st.floats(0.05, 20))
def test_both_readings_are_distributions(grid, seed, temperature):
    valid = random_valid(2, *grid, seed)
    maps = make_maps(h=grid[0], w=grid[1], seed=seed, valid=valid)
    positions = maps.spatial_log_probs(temperature).exp()
    torch.testing.assert_close(positions.sum((-2, -1)), torch.ones(2, 2, 3))
    assert not positions[(~valid)[:, None, None].expand_as(positions)].any()
    concepts = maps.semantic_log_probs(temperature).exp()
    torch.testing.assert_close(concepts.sum(2), torch.ones(2, 2, *grid))


def test_readings_equal_softmax_by_hand_with_a_temperature_an_image():
    maps = make_maps(valid=random_valid(2, 4, 5))
    temperature = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1, 1)
    for b, t in enumerate((0.5, 2.0)):
        scores = maps.logits[b] / t
        inside = scores[..., maps.valid[b]].softmax(-1)
        torch.testing.assert_close(
            maps.spatial_log_probs(temperature).exp()[b][..., maps.valid[b]], inside, rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(maps.semantic_log_probs(temperature).exp()[b], scores.softmax(1))


@pytest.mark.parametrize(('has', 'lacks'), [('spatial', 'semantic'), ('semantic', 'spatial')])
def test_a_reading_the_source_does_not_have_is_an_error(has, lacks):
    maps = make_maps(directions=(has,))
    assert getattr(maps, f'{has}_log_probs')().isfinite().all()
    with pytest.raises(ValueError, match=f'these maps have the directions .*, without {lacks!r}'):
        getattr(maps, f'{lacks}_log_probs')()


def test_resize_to_the_same_grid_changes_nothing():
    maps = make_maps()
    assert maps.resize((4, 5)) is maps


@few_examples
@given(source=grids, target=grids, level=st.floats(-50, 50), seed=st.integers(0, 99))
def test_resize_keeps_constant_maps_whatever_lies_in_the_invalid_area(source, target, level, seed):
    valid = random_valid(1, *source, seed)
    logits = torch.where(valid, level, 1e4)[:, None, None].expand(1, 2, 3, *source)
    resized = make_maps(b=1, logits=logits, h=source[0], w=source[1], valid=valid).resize(target)
    assert resized.grid == target
    inside = resized.logits[resized.valid[:, None, None].expand_as(resized.logits)]
    torch.testing.assert_close(inside, torch.full_like(inside, level), rtol=1e-4, atol=1e-3)


def test_resize_halves_by_averaging_the_valid_locations():
    logits = torch.arange(16.0).view(1, 1, 1, 4, 4)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[:, :, 2:] = False
    valid[:, 3, 1] = False
    resized = make_maps(1, 1, 1, 4, 4, logits=logits, valid=valid).resize((2, 2))
    assert resized.valid.tolist() == [[[True, False], [True, False]]]
    expected = torch.tensor([(0 + 1 + 4 + 5) / 4, (8 + 9 + 12) / 3])
    torch.testing.assert_close(resized.logits[0, 0, 0, :, 0], expected)


def test_an_identity_view_shows_the_same_maps():
    maps = make_maps(b=1, valid=random_valid(1, 4, 5))
    warped = maps.warp(IDENTITY, (4, 5))
    assert torch.equal(warped.valid, maps.valid)
    inside = maps.valid[:, None, None].expand_as(maps.logits)
    torch.testing.assert_close(warped.logits[inside], maps.logits[inside], rtol=1e-4, atol=1e-5)


def test_a_mirrored_view_shows_the_mirrored_maps():
    maps = make_maps(b=1, valid=random_valid(1, 4, 5))
    warped = maps.warp(MIRROR, (4, 5))
    assert torch.equal(warped.valid, maps.valid.flip(-1))
    inside = warped.valid[:, None, None].expand_as(maps.logits)
    torch.testing.assert_close(warped.logits[inside], maps.logits.flip(-1)[inside], rtol=1e-4, atol=1e-5)


@few_examples
@given(data=st.data())
def test_an_aligned_crop_equals_slicing(data):
    height, width = data.draw(grids)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    h, w = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    maps = make_maps(b=1, h=height, w=width)
    warped = maps.warp(crop_view(top, left, h, w, height, width), (h, w))
    expected = maps.logits[..., top : top + h, left : left + w]
    assert warped.valid.all()
    torch.testing.assert_close(warped.logits, expected, rtol=1e-4, atol=1e-4)


@few_examples
@given(source=grids, target=grids)
def test_the_whole_of_a_valid_picture_stays_valid_at_any_resolution(source, target):
    warped = make_maps(b=1, h=source[0], w=source[1]).warp(IDENTITY, target)
    assert warped.valid.all()


def test_what_a_view_shows_from_outside_the_picture_is_invalid():
    # Twice as wide as the picture, and half a picture to the left.
    view = torch.tensor([[[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]])
    warped = make_maps(b=1, h=4, w=4).warp(view, (4, 8))
    assert warped.valid[0].tolist() == [[False] * 4 + [True] * 4] * 4
    assert warped.logits.isfinite().all()


@few_examples
@given(
    source=grids,
    target=grids,
    seed=st.integers(0, 99),
    scale=st.floats(0.3, 1.5),
    shift=st.floats(-0.5, 0.5),
)
def test_a_view_never_looks_at_invalid_positions(source, target, seed, scale, shift):
    valid = random_valid(1, *source, seed)
    maps = make_maps(b=1, h=source[0], w=source[1], seed=seed, valid=valid)
    other = replace(maps, logits=torch.where(valid[:, None, None], maps.logits, 1e3))
    view = torch.tensor([[[scale, 0.1, shift], [-0.1, scale, -shift]]])
    first, second = maps.warp(view, target), other.warp(view, target)
    assert torch.equal(first.valid, second.valid)
    inside = first.valid[:, None, None].expand_as(first.logits)
    assert torch.equal(first.logits[inside], second.logits[inside])
    flat = replace(maps, logits=torch.where(valid, 5.0, 1e3)[:, None, None].expand_as(maps.logits))
    level = flat.warp(view, target).logits[inside]
    torch.testing.assert_close(level, torch.full_like(level, 5.0), rtol=1e-4, atol=1e-3)


@few_examples
@given(
    source=grids,
    target=grids,
    seed=st.integers(0, 99),
    size=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    flip=st.booleans(),
)
def test_a_crop_never_looks_at_cells_outside_it(source, target, seed, size, corner, flip):
    height, width = source
    left, top = (2 * c * (1 - s) - 1 for c, s in zip(corner, size))
    view = torch.tensor([[[size[0], 0, left + size[0]], [0, size[1], top + size[1]]]])
    view[:, 0, 0] *= -1 if flip else 1
    # Cells that the crop does not touch.
    x, y = (torch.linspace(-1, 1, side + 1) for side in (width, height))
    columns = (x[1:] <= left) | (x[:-1] >= left + 2 * size[0])
    rows = (y[1:] <= top) | (y[:-1] >= top + 2 * size[1])
    outside = rows[:, None] | columns
    maps = make_maps(b=1, h=height, w=width, seed=seed)
    other = replace(maps, logits=torch.where(outside, 1e3, maps.logits))
    first, second = maps.warp(view, target), other.warp(view, target)
    assert first.valid.all()
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=1e-3)


def test_what_a_canvas_shows_beside_the_view_is_invalid():
    maps = make_maps(b=1, h=4, w=4)
    # The view is the upper half, and fills the left half of the canvas.
    view = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.5, -0.5]]])
    warped = maps.warp(view, (2, 8), torch.tensor([[[0, 0.5], [0, 1.0]]]))
    assert warped.valid[0].tolist() == [[True] * 4 + [False] * 4] * 2
    torch.testing.assert_close(warped.logits[..., :4], maps.warp(view, (2, 4)).logits, rtol=1e-4, atol=1e-5)


def test_a_strip_that_fills_no_location_by_half_keeps_the_fullest():
    maps = make_maps(b=1, h=4, w=4)
    warped = maps.warp(IDENTITY, (4, 4), torch.tensor([[[0, 1 / 16], [0, 1.0]]]))
    assert warped.valid[0].tolist() == [[True, False, False, False]] * 4
    # It shows the picture's complete width.
    torch.testing.assert_close(warped.logits[..., 0], maps.logits.mean(-1), rtol=1e-4, atol=1e-4)


def dense_mean(cells, extents, grid, bilinear=False):
    """The mean of cells (H, W) over each location, by 400 samples along each axis, and the share inside.

    Args:
        cells: (H, W).
        extents: for rows and columns the (start, end) in cells of each location of the grid.
        grid: (h, w).
        bilinear: sample the bilinear surface through the cells' middles; else the cells themselves.
    """
    read, shares = [], []
    for side, spans, n in zip(cells.shape, extents, grid):
        rows, inside = np.zeros((n, side)), np.zeros(n)
        for i, (start, end) in enumerate(spans):
            points = start + (end - start) * (np.arange(400) + 0.5) / 400
            within = (points > 0) & (points < side)
            inside[i] = within.mean()
            points = points[within]
            if bilinear:
                points = (points - 0.5).clip(0, side - 1)
                left = points.astype(int).clip(max=max(side - 2, 0))
                np.add.at(rows[i], left, 1 - (points - left))
                np.add.at(rows[i], (left + 1).clip(max=side - 1), points - left)
            else:
                np.add.at(rows[i], points.astype(int), 1)
        read.append(rows / np.maximum(rows.sum(1, keepdims=True), 1))
        shares.append(inside)
    return read[0] @ cells.double().numpy() @ read[1].T, np.outer(*shares)


def read_spans(spans):
    """Spans (2, n) of at least a cell around their middles, in the cells that all of them touch."""
    middles, lengths = (spans[0] + spans[1]) / 2, np.maximum(spans[1] - spans[0], 1)
    first, last = np.floor(spans.min() + 1e-3), np.ceil(spans.max() - 1e-3)
    return np.stack((middles - lengths / 2, middles + lengths / 2), -1).clip(first, last)


# A picture at the top left of a padded canvas; where it is larger, a crop of it fills the canvas.
jitters = dict(
    source=st.tuples(st.integers(2, 24), st.integers(2, 24)),
    target=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    scale=st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    flip=st.booleans(),
)


def jittered(source, target, scale, corner, flip):
    """A jitter's view and window, and in cells the spans (h, 2) and (w, 2) of the locations."""
    rows, spans, windows = [], [], []
    for axis in (0, 1):
        shown = min(1 / scale[axis], 1)
        start = corner[axis] * (1 - shown)
        filled = min(scale[axis], 1)
        windows.append([0, filled])
        edges = np.clip(np.arange(target[axis] + 1) / target[axis] / filled, None, 1)
        edges = start + shown * edges
        middle = 2 * start + shown - 1
        sign = -1 if flip and axis == 1 else 1
        if sign == -1:
            edges = 2 * start + shown - edges
        edges = edges * source[axis]
        spans.append(np.sort(np.stack((edges[:-1], edges[1:])), 0))
        rows.append([0, sign * shown, middle] if axis == 0 else [sign * shown, 0, middle])
    return torch.tensor([rows[::-1]]), torch.tensor([windows[::-1]]), spans


@settings(max_examples=60, derandomize=True)
@given(**jitters, seed=st.integers(0, 99))
def test_a_location_reads_the_mean_of_what_it_shows_at_every_scale(seed, source, target, **jitter):
    view, window, spans = jittered(source, target, **jitter)
    maps = make_maps(1, 1, 1, *source, seed=seed)
    warped = maps.warp(view, target, window)
    read = [read_spans(span) for span in spans]
    expected, _ = dense_mean(maps.logits[0, 0, 0], read, target)
    valid = warped.valid[0].numpy()
    assert valid.any()
    # Of 400 samples along an axis, one at each edge may fall on the wrong side.
    np.testing.assert_allclose(warped.logits[0, 0, 0].numpy()[valid], expected[valid], atol=0.06)


@few_examples
@given(**jitters, waves=st.tuples(st.floats(-1, 1), st.floats(-1, 1)))
def test_a_smooth_map_is_read_as_the_mean_of_its_surface_at_every_scale(source, target, waves, **jitter):
    view, window, spans = jittered(source, target, **jitter)
    y, x = (torch.arange(side).div(side).mul(wave) for side, wave in zip(source, waves))
    cells = torch.sin(3 * (y[:, None] + x))
    maps = make_maps(1, 1, 1, *source, logits=cells[None, None, None])
    warped = maps.warp(view, target, window)
    expected, _ = dense_mean(cells, [span.T for span in spans], target, bilinear=True)
    valid = warped.valid[0].numpy()
    step = max(3 / side for side in source)
    np.testing.assert_allclose(warped.logits[0, 0, 0].numpy()[valid], expected[valid], atol=step / 2)


@pytest.mark.parametrize('scale', [0.1, 0.2, 0.5, 1.0, 1.5, 2.0])
def test_noise_on_a_jittered_canvas_correlates_with_its_exact_mean(scale):
    # A picture of 3:4 at this scale of a canvas of 64 x 64 locations, as for detection at 1024 pixels.
    view, window, spans = jittered((14, 14), (64, 64), (0.75 * scale, scale), (0.3, 0.6), False)
    maps = make_maps(1, 1, 1, 14, 14)
    warped = maps.warp(view, (64, 64), window)
    read = [read_spans(span) for span in spans]
    expected, _ = dense_mean(maps.logits[0, 0, 0], read, (64, 64))
    valid = warped.valid[0].numpy()
    assert np.corrcoef(warped.logits[0, 0, 0].numpy()[valid], expected[valid])[0, 1] > 0.999


@few_examples
@given(source=st.tuples(st.integers(1, 30), st.integers(1, 30)), target=grids, seed=st.integers(0, 99))
def test_all_of_an_image_is_read_alike_online_and_cached(source, target, seed):
    maps = make_maps(1, 1, 1, *source, seed=seed)
    resized = maps.resize(target)
    torch.testing.assert_close(resized.logits, maps.warp(IDENTITY, target).logits, rtol=1e-4, atol=1e-5)
    edges = [np.arange(n + 1) / n * side for n, side in zip(target, source)]
    read = [read_spans(np.stack((e[:-1], e[1:]))) for e in edges]
    expected, _ = dense_mean(maps.logits[0, 0, 0], read, target)
    np.testing.assert_allclose(resized.logits[0, 0, 0].numpy(), expected, atol=0.06)


@pytest.mark.parametrize('degrees', [0, 30, 45, 90])
def test_a_rotated_view_at_a_tenth_reads_the_mean_of_what_it_shows(degrees):
    maps = make_maps(1, 1, 1, 40, 40)
    angle = np.deg2rad(degrees)
    turn = 0.5 * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).float()
    view = torch.cat((turn, torch.zeros(2, 1)), 1)[None]
    warped = maps.warp(view, (4, 4)).logits[0, 0, 0]
    # 50 x 50 samples a location.
    points = F.affine_grid(view, (1, 1, 200, 200), align_corners=False)
    dense = F.grid_sample(maps.logits[0], points, mode='nearest', align_corners=False)
    expected = F.avg_pool2d(dense, 50)[0, 0]
    assert np.corrcoef(warped.flatten(), expected.flatten())[0, 1] > 0.9


def test_the_loss_reads_maps_in_full_precision_under_autocast():
    maps = make_maps(h=20, w=20)
    view = crop_view(3.3, 2.2, 11, 13, 20, 20).expand(2, 2, 3)
    with torch.autocast('cpu', torch.bfloat16):
        warped = maps.warp(view, (8, 8))
    assert torch.equal(warped.logits, maps.warp(view, (8, 8)).logits)


def test_labels_raise_the_presence_of_their_own_concepts_and_never_of_the_rest():
    labels = torch.zeros(2, 10)
    labels[0, 8], labels[1, 0] = 1, 1
    maps = make_maps(concepts=torch.tensor([[7, 8, OTHER], [4, 5, OTHER]]))
    raised = maps.with_labels(labels)
    assert raised.presence[0].tolist() == [maps.presence[0, 0], 1, maps.presence[0, 2]]
    assert torch.equal(raised.presence[1], maps.presence[1])
    assert torch.equal(raised.logits, maps.logits)
    assert make_maps().with_labels(torch.ones(2, 3)).presence.eq(1).all()


def test_gather_picks_maps_presence_and_concepts_together():
    maps = make_maps(concepts=torch.tensor([[7, 8, 9], [4, 5, OTHER]]))
    index = torch.tensor([[2, 0], [1, 2]])
    kept = maps.gather(index)
    assert kept.concepts.tolist() == [[9, 7], [5, OTHER]]
    for b in range(2):
        for i, j in enumerate(index[b]):
            assert torch.equal(kept.logits[b, :, i], maps.logits[b, :, j])
            assert kept.presence[b, i] == maps.presence[b, j]


def test_gather_names_the_concepts_of_maps_of_the_whole_bank():
    index = torch.tensor([[2, 0], [1, 2]])
    assert torch.equal(make_maps().gather(index).concepts, index)


def test_select_layers_picks_by_place_and_may_repeat():
    maps = make_maps(n_layers=3, layers=(4, 8, 11))
    picked = maps.select_layers([2, 0, 0])
    assert picked.layers == (11, 4, 4)
    assert torch.equal(picked.logits, maps.logits[:, [2, 0, 0]])


@pytest.mark.parametrize('concepts', [None, torch.zeros(2, 3, dtype=torch.long)])
def test_to_moves_every_tensor_and_keeps_the_rest(concepts):
    moved = make_maps(concepts=concepts, directions=('spatial',)).to('meta')
    tensors = [moved.logits, moved.presence, moved.valid] + ([] if concepts is None else [moved.concepts])
    assert {t.device.type for t in tensors} == {'meta'}
    assert (moved.concepts is None) == (concepts is None)
    assert (moved.layers, moved.directions) == ((0, 1), ('spatial',))


# ---- positions --------------------------------------------------------------------------------------


def test_share_reads_locations_by_the_concepts_log_probability(make_maps):
    maps = make_maps()
    shared = maps.concept_softmax()
    assert torch.equal(shared.logits, maps.logits) and torch.equal(
        shared.semantic_log_probs(), maps.semantic_log_probs()
    )
    probabilities = maps.logits.double().exp()
    log_share = (probabilities / probabilities.sum(2, keepdim=True)).log()  # [B, L, M, H, W]
    for temperature in (1.0, 0.5):
        expected = (log_share / temperature).flatten(-2).softmax(-1).view_as(log_share)
        torch.testing.assert_close(shared.spatial_log_probs(temperature).exp(), expected.float())
    with pytest.raises(ValueError, match='semantic'):
        make_maps(directions=('spatial',)).concept_softmax()


def test_positions_go_where_logits_go(make_maps):
    maps = make_maps().concept_softmax()
    index = torch.tensor([[2, 0], [1, 2]])
    kept = maps.gather(index)
    for b, m in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert torch.equal(kept.spatial_logits[b, :, m], maps.spatial_logits[b, :, index[b, m]])
    last = maps.select_layers([-1])
    assert torch.equal(last.spatial_logits, maps.spatial_logits[:, -1:])
    assert maps.to('meta').spatial_logits.device.type == 'meta'
    # Warped logits say what the share is in the view.
    grid = tuple(2 * side for side in maps.grid)
    assert maps.resize(grid).spatial_logits is None


def test_positions_of_another_shape_are_refused(make_maps):
    maps = make_maps()
    with pytest.raises(ValueError, match=r'spatial_logits must be \(B, L, M, H, W\) = .*, got shape'):
        replace(maps, spatial_logits=maps.logits[:, :, :1])
