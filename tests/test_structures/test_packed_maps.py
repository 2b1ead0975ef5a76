import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.structures import OTHER, InteractionMaps, pack, unpack


def maps_of(scale, offset, concepts=None, seed=0, shape=(3, 2, 4, 5, 6)):
    generator = torch.Generator().manual_seed(seed)
    b, _, m, h, w = shape
    return InteractionMaps(
        logits=offset + scale * torch.randn(shape, generator=generator),
        presence=torch.rand(b, m, generator=generator),
        valid=torch.ones(b, h, w, dtype=torch.bool),
        concepts=concepts,
        layers=(4, 7),
    )


def kept(maps):
    return unpack(pack(maps), maps.layers, maps.directions, 'cpu')


@settings(max_examples=50)
@given(
    scale=st.floats(1e-3, 30),
    offset=st.floats(-100, 100),
    temperature=st.floats(0.05, 10),
    seed=st.integers(0, 99),
)
def test_both_readings_stay_within_the_stated_bound(scale, offset, temperature, seed):
    maps = maps_of(scale, offset, seed=seed)
    again = kept(maps)
    extent = (maps.logits.amax((-2, -1)) - maps.logits.amin((-2, -1))).max().item()
    # Rounding of the logits themselves, in float32.
    rounding = 4 * maps.logits.abs().max().item() * 2**-23
    assert (again.logits - maps.logits).abs().max() <= extent / 510 + rounding
    bound = (extent / 255 + 4 * rounding) / temperature + 1e-4
    for reading in ('spatial_log_probs', 'semantic_log_probs'):
        error = getattr(again, reading)(temperature) - getattr(maps, reading)(temperature)
        assert error.abs().max() <= bound
    assert ((again.presence - maps.presence).abs() <= maps.presence * 2**-11 + 2**-25).all()


def test_all_else_is_kept():
    concepts = torch.tensor([[3, 1, 0, OTHER]]).expand(3, 4)
    again = kept(maps_of(1, 0, concepts))
    assert again.concepts.equal(concepts)
    assert (again.layers, again.directions) == ((4, 7), ('spatial', 'semantic'))
    assert kept(maps_of(1, 0)).concepts is None
    again.check()


def test_a_flat_map_stays_flat():
    assert kept(maps_of(0, 7.25)).logits.equal(torch.full((3, 2, 4, 5, 6), 7.25))


def test_100k_images_with_8_concepts_and_the_rest_on_a_14_grid_fit_into_200_mb():
    maps = InteractionMaps(
        logits=torch.zeros(1, 1, 9, 14, 14),
        presence=torch.zeros(1, 9),
        valid=torch.ones(1, 14, 14, dtype=torch.bool),
        concepts=torch.zeros(1, 9, dtype=torch.long),
    )
    assert 100_000 * pack(maps).nbytes < 0.2e9


@pytest.mark.parametrize(
    ('field', 'index', 'value', 'message'),
    [
        ('logits', (1, 0, 2, 3, 4), float('nan'), 'logits hold a non-finite value for the images .1.'),
        ('logits', (0, 0, 0, 0, 0), float('inf'), 'logits hold a non-finite value for the images .0.'),
        ('presence', (2, 1), float('nan'), 'presence is not finite or outside .* for the images .2.'),
    ],
)
def test_what_is_not_finite_is_refused(field, index, value, message):
    maps = maps_of(1, 0)
    getattr(maps, field)[index] = value
    with pytest.raises(ValueError, match=message):
        pack(maps)


def test_padding_is_refused():
    maps = maps_of(1, 0)
    maps.valid[1, 0, 0] = False
    with pytest.raises(ValueError, match='valid: only maps of complete images'):
        pack(maps)


def test_records_of_several_batches_can_be_joined():
    first, second = maps_of(1, 0, seed=1), maps_of(1, 0, seed=2)
    joined = np.concatenate([pack(first), pack(second)])
    assert unpack(joined, (4, 7), ('spatial',), 'cpu').logits[3:].equal(kept(second).logits)


def test_a_single_image_of_an_odd_size_comes_back():
    maps = maps_of(1, 0, shape=(1, 2, 3, 3, 5))
    assert pack(maps).dtype.itemsize % 4
    assert kept(maps).logits.shape == (1, 2, 3, 3, 5)
