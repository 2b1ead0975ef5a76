"""`InteractionMaps`: its checks, its two readings, and how it is resized, warped and picked from."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.structures import REST, InteractionMaps

few_examples = settings(max_examples=20, deadline=None, derandomize=True)
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
        ('directions', ('positions', 'sideways')),
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
        ('presence', torch.full((2, 3), 1.01), r'presence must lie in \[0, 1\]'),
        ('presence', torch.full((2, 3), float('nan')), r'presence must lie in \[0, 1\]'),
        ('valid', torch.tensor([True, False])[:, None, None].expand(2, 4, 5), r'valid is empty .* \[1\]'),
        ('concepts', torch.full((2, 3), REST - 1), 'concepts must be indices'),
    ],
)
def test_check_names_the_field_of_a_wrong_value(field, value, message):
    with pytest.raises(ValueError, match=message):
        make_maps(**{field: value}).check()


def test_check_returns_sound_maps():
    maps = make_maps(concepts=torch.tensor([[0, 5, REST]] * 2))
    assert maps.check() is maps
    assert maps.grid == (4, 5)


@few_examples
@given(grid=grids, seed=st.integers(0, 99), temperature=st.floats(0.05, 20))
def test_both_readings_are_distributions(grid, seed, temperature):
    valid = random_valid(2, *grid, seed)
    maps = make_maps(h=grid[0], w=grid[1], seed=seed, valid=valid)
    positions = maps.over_positions(temperature).exp()
    torch.testing.assert_close(positions.sum((-2, -1)), torch.ones(2, 2, 3))
    assert not positions[(~valid)[:, None, None].expand_as(positions)].any()
    concepts = maps.over_concepts(temperature).exp()
    torch.testing.assert_close(concepts.sum(2), torch.ones(2, 2, *grid))


def test_readings_equal_softmax_by_hand_with_a_temperature_an_image():
    maps = make_maps(valid=random_valid(2, 4, 5))
    temperature = torch.tensor([0.5, 2.0]).view(2, 1, 1, 1, 1)
    for b, t in enumerate((0.5, 2.0)):
        scores = maps.logits[b] / t
        inside = scores[..., maps.valid[b]].softmax(-1)
        torch.testing.assert_close(
            maps.over_positions(temperature).exp()[b][..., maps.valid[b]], inside, rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(maps.over_concepts(temperature).exp()[b], scores.softmax(1))


@pytest.mark.parametrize(('has', 'lacks'), [('positions', 'concepts'), ('concepts', 'positions')])
def test_a_reading_the_source_does_not_have_is_an_error(has, lacks):
    maps = make_maps(directions=(has,))
    assert getattr(maps, f'over_{has}')().isfinite().all()
    with pytest.raises(ValueError, match=f'no reading over {lacks}: their directions'):
        getattr(maps, f'over_{lacks}')()


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


def test_resize_halves_by_averaging_the_valid_positions():
    logits = torch.arange(16.0).view(1, 1, 1, 4, 4)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[:, :, 2:] = False
    resized = make_maps(1, 1, 1, 4, 4, logits=logits, valid=valid).resize((2, 2))
    assert resized.valid.tolist() == [[[True, False], [True, False]]]
    # Weights 3, 3, 1 (, 0) of the antialiasing triangle in each direction; columns 2 and 3 are invalid.
    rows = torch.tensor([(0 * 3 + 4 * 3 + 8 * 1) / 7, (4 * 1 + 8 * 3 + 12 * 3) / 7])
    torch.testing.assert_close(resized.logits[0, 0, 0, :, 0], rows + 0.5)


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
    warped = maps.warp(view, (2, 8), torch.tensor([[0.5, 1.0]]))
    assert warped.valid[0].tolist() == [[True] * 4 + [False] * 4] * 2
    torch.testing.assert_close(warped.logits[..., :4], maps.warp(view, (2, 4)).logits, rtol=1e-4, atol=1e-5)


def test_a_strip_that_fills_no_position_by_half_keeps_the_fullest():
    maps = make_maps(b=1, h=4, w=4)
    warped = maps.warp(IDENTITY, (4, 4), torch.tensor([[1 / 16, 1.0]]))
    assert warped.valid[0].tolist() == [[True, False, False, False]] * 4
    # One sample, in the middle of the picture.
    torch.testing.assert_close(warped.logits[..., 0], maps.logits[..., 1:3].mean(-1), rtol=1e-4, atol=1e-4)


def test_gather_picks_maps_presence_and_concepts_together():
    maps = make_maps(concepts=torch.tensor([[7, 8, 9], [4, 5, REST]]))
    index = torch.tensor([[2, 0], [1, 2]])
    kept = maps.gather(index)
    assert kept.concepts.tolist() == [[9, 7], [5, REST]]
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
    moved = make_maps(concepts=concepts, directions=('positions',)).to('meta')
    tensors = [moved.logits, moved.presence, moved.valid] + ([] if concepts is None else [moved.concepts])
    assert {t.device.type for t in tensors} == {'meta'}
    assert (moved.concepts is None) == (concepts is None)
    assert (moved.layers, moved.directions) == ((0, 1), ('positions',))
