"""Maps of mixed images against slow references that mix the sources cell by cell."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.structures import REST, BatchMixture, InteractionMaps, mean_maps, mix_maps

few_examples = settings(max_examples=20, derandomize=True)
BANK = 7
SIZE = 96  # pixels


def smooth_maps(b, seed, cells=24, m=BANK):
    """Maps of waves half a picture long and more, so that a location differs little from its middle."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 2 * torch.randn(b, m, 4, 4, generator=generator)
    logits = F.interpolate(coarse, (cells, cells), mode='bicubic', align_corners=False)
    return InteractionMaps(
        logits=logits[:, None],
        presence=torch.rand(b, m, generator=generator),
        valid=torch.ones(b, cells, cells, dtype=torch.bool),
    )


def top(maps, m):
    """What a teacher with `max_concepts=m` says: the greatest presence, and the rest."""
    index = maps.presence.topk(m, 1).indices
    kept = maps.gather(index)
    gone = torch.zeros_like(maps.presence, dtype=torch.bool).scatter_(1, index, True)
    rest = maps.logits.masked_fill(gone[:, None, :, None, None], float('-inf')).logsumexp(2, keepdim=True)
    return InteractionMaps(
        logits=torch.cat((kept.logits, rest), 2),
        presence=F.pad(kept.presence, (0, 1)),
        valid=maps.valid,
        concepts=F.pad(index, (0, 1), value=REST),
    )


def halves(h, w):
    """The left half shows the first of two sources, the right one the second."""
    share = torch.zeros(1, 2, h, w)
    share[:, 0, :, : w // 2] = share[:, 1, :, w // 2 :] = 1
    return share


def correlation(first, second):
    return torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1].item()


def probabilities(maps, b, y, x):
    """What a source says at a location, concept by concept of the bank; its rest is divided evenly."""
    p = maps.logits[b, 0, :, y, x].double().softmax(0).tolist()
    if maps.concepts is None:
        return p
    names = maps.concepts[b].tolist()[:-1]
    return [p[names.index(c)] if c in names else p[-1] / (BANK - len(names)) for c in range(BANK)]


@few_examples
@given(seed=st.integers(0, 99), m=st.sampled_from([None, 1, 2, 4, 6]), n=st.integers(2, 4))
def test_a_location_reads_the_mean_of_its_sources_probabilities(seed, m, n):
    sources = [smooth_maps(2, seed + 100 * i, cells=3) for i in range(n)]
    if m:
        sources = [top(maps, m) for maps in sources]
    share = torch.rand(2, n, 3, 3, generator=torch.Generator().manual_seed(seed))
    share /= share.sum(1, keepdim=True)
    mixed = mix_maps(sources, share, BANK).check()
    found = mixed.over_concepts().exp()
    for b in range(2):
        asked = range(BANK) if m is None else mixed.concepts[b].tolist()[:-1]
        assert len(set(asked)) == (m or BANK)
        for y in range(3):
            for x in range(3):
                by_source = [probabilities(maps, b, y, x) for maps in sources]
                mean = [
                    sum(w.item() * p[c] for w, p in zip(share[b, :, y, x], by_source)) for c in range(BANK)
                ]
                expected = [mean[c] for c in asked]
                if m:
                    expected.append(sum(mean) - sum(expected))
                assert found[b, 0, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('m', [None, 3])
def test_a_location_of_one_source_has_its_scores(m):
    first, second = (smooth_maps(2, seed, cells=4) for seed in (0, 1))
    if m:
        # Asked about the same concepts.
        second = replace(second, presence=first.presence)
        first, second = top(first, m), top(second, m)
    mixed = mix_maps([first, second], halves(4, 4), BANK)
    expected = torch.cat((first.logits[..., :2], second.logits[..., 2:]), -1)
    torch.testing.assert_close(mixed.logits, expected)
    for reading in ('over_concepts', 'over_positions'):
        pasted = getattr(replace(first, logits=expected), reading)()
        torch.testing.assert_close(getattr(mixed, reading)(), pasted)


@pytest.mark.parametrize('m', [None, 1, 4])
def test_an_image_mixed_with_itself_stays(m):
    maps = smooth_maps(3, 5, cells=4)
    maps = top(maps, m) if m else maps
    share = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    mixed = mix_maps([maps, maps], torch.cat((share, 1 - share), 1), BANK)
    # By rank they come in the teacher's order.
    assert m is None or mixed.concepts.equal(maps.concepts)
    torch.testing.assert_close(mixed.presence, maps.presence)
    torch.testing.assert_close(mixed.logits, maps.logits)


def test_presence_is_by_the_share_of_the_visible_area():
    first, second = (top(smooth_maps(1, seed, cells=4), 2) for seed in (0, 2))
    share = halves(4, 4)
    share[:, :, :2] = torch.tensor([1.0, 0.0])[None, :, None, None]
    mixed = mix_maps([first, second], share, BANK)
    expected = dict.fromkeys(range(BANK), 0.0)
    for maps, part in ((first, 0.75), (second, 0.25)):
        for concept, presence in zip(maps.concepts[0, :2].tolist(), maps.presence[0, :2].tolist()):
            expected[concept] += part * presence
    best = sorted(expected, key=expected.get, reverse=True)[:2]
    assert mixed.concepts[0].tolist() == [*best, REST]
    assert mixed.presence[0].tolist() == pytest.approx([expected[best[0]], expected[best[1]], 0.0])


def test_labels_come_first_among_what_is_asked():
    first, second = (top(smooth_maps(1, seed, cells=4), 2) for seed in (0, 2))
    last = second.concepts[0, 1].item()
    labels = torch.zeros(1, BANK)
    labels[0, last] = 0.01
    share = torch.tensor([0.99, 0.01])[None, :, None, None].expand(1, 2, 4, 4)
    assert mix_maps([first, second], share, BANK, labels).concepts[0, 0] == last


def test_padding_shows_nothing():
    first, second = (smooth_maps(1, seed, cells=4) for seed in (0, 1))
    valid = second.valid.clone()
    valid[:, 2:] = False
    second = replace(second, valid=valid)
    mixed = mix_maps([first, second], halves(4, 4), BANK).check()
    assert mixed.valid[0].tolist() == [[True] * 4] * 2 + [[True, True, False, False]] * 2
    part = torch.tensor([8 / 12, 4 / 12])
    expected = part[0] * first.presence + part[1] * second.presence
    torch.testing.assert_close(mixed.presence, expected)


def test_maps_that_cannot_be_compared_are_refused():
    maps = replace(smooth_maps(1, 0), directions=('positions',))
    with pytest.raises(ValueError, match=r"directions \('positions',\) cannot be mixed: .*unmixed"):
        mix_maps([maps, maps], halves(24, 24), BANK)


def test_features_are_averaged():
    first, second = (replace(smooth_maps(2, seed, cells=4), directions=('positions',)) for seed in (0, 1))
    share = torch.tensor([0.3, 0.7])[None, :, None, None].expand(1, 2, 4, 4)
    mixed = mean_maps([first, second], share)
    torch.testing.assert_close(mixed.logits, 0.3 * first.logits + 0.7 * second.logits)


# ---- crops, flips and pairs together ------------------------------------------------------------------


def crop_and_flip(seed):
    """Left, top and side in pixels of a square part of a picture, and whether it is mirrored."""
    rng = torch.Generator().manual_seed(seed)
    side = int(torch.randint(SIZE // 2, SIZE + 1, (), generator=rng))
    left, upper = torch.randint(0, SIZE - side + 1, (2,), generator=rng).tolist()
    return left, upper, side, bool(torch.rand((), generator=rng) < 0.5)


def view_of(left, upper, side, mirrored):
    x, y, scale = 2 * (left + side / 2) / SIZE - 1, 2 * (upper + side / 2) / SIZE - 1, side / SIZE
    return torch.tensor([[-scale if mirrored else scale, 0, x], [0, scale, y]])


def pixels_of(values, left, upper, side, mirrored):
    """Values (C, h, w) of cells as the pixels of a view show them, (C, SIZE, SIZE), one by one."""
    steps = (torch.arange(SIZE) + 0.5) * side / SIZE
    across = (left + (steps.flip(0) if mirrored else steps)) * values.shape[-1] / SIZE
    down = (upper + steps) * values.shape[-2] / SIZE
    return values[:, down.long()][:, :, across.long()]


def mixed_pixels(pixels, mixture):
    """What `mixture` makes of pixels (B, C, SIZE, SIZE), pixel by pixel."""
    top_, bottom, left, right = mixture.box or (0, SIZE, 0, SIZE)
    out = pixels.clone()
    for b, other in enumerate(mixture.other.tolist()):
        for y in range(top_, bottom):
            for x in range(left, right):
                from_y, from_x = y, x
                if mixture.resized:
                    from_y = int((y - top_ + 0.5) * SIZE / (bottom - top_))
                    from_x = int((x - left + 0.5) * SIZE / (right - left))
                theirs = pixels[other, :, from_y, from_x]
                out[b, :, y, x] = mixture.share * pixels[b, :, y, x] + (1 - mixture.share) * theirs
    return out


MIXTURES = {
    'Mixup': dict(share=0.3),
    'CutMix': dict(box=(10, 71, 35, 96)),
    'ResizeMix': dict(box=(20, 90, 6, 80), resized=True),
}


@pytest.mark.parametrize('kind', MIXTURES)
@pytest.mark.parametrize('seed', range(3))
def test_crops_flips_and_mixtures_agree_with_mixed_pixels(kind, seed):
    maps, grid = smooth_maps(3, seed, cells=48), (8, 8)
    views = [crop_and_flip(10 * seed + i) for i in range(3)]
    mixture = BatchMixture(torch.tensor([1, 2, 0]), (SIZE, SIZE), **MIXTURES[kind])
    in_view = maps.warp(torch.stack([view_of(*view) for view in views]), grid)
    mixed = mix_maps(*mixture.sources(in_view), BANK).check()

    pixels = torch.stack([pixels_of(p[0].softmax(0), *view) for p, view in zip(maps.logits, views)])
    expected = F.adaptive_avg_pool2d(mixed_pixels(pixels, mixture), grid)
    found = mixed.over_concepts().exp()[:, 0]
    # ResizeMix reads the grid once more, which blurs it.
    assert correlation(found, expected) > (0.97 if mixture.resized else 0.99)
    shares = mixed_pixels(torch.eye(3)[:, :, None, None].expand(3, 3, SIZE, SIZE), mixture).mean((-2, -1))
    torch.testing.assert_close(mixed.presence, shares @ maps.presence)
    torch.testing.assert_close(mixture.mix_labels(maps.presence), shares @ maps.presence)
