"""Maps of mixed images against slow references that mix the sources cell by cell."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.structures import (
    BatchMixture,
    InteractionMaps,
    Tiles,
    image_windows,
    mean_maps,
    mix_maps,
    place_tiles,
)

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


def halves(b, h, w):
    """The left half shows the first of two sources, the right one the second."""
    share = torch.zeros(b, 2, h, w)
    share[:, 0, :, : w // 2] = share[:, 1, :, w // 2 :] = 1
    return share


def correlation(first, second):
    return torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1].item()


@few_examples
@given(seed=st.integers(0, 99), n=st.integers(2, 4))
def test_a_location_reads_the_mean_of_its_sources_probabilities(seed, n):
    sources = [smooth_maps(2, seed + 100 * i, cells=3) for i in range(n)]
    share = torch.rand(2, n, 3, 3, generator=torch.Generator().manual_seed(seed))
    share /= share.sum(1, keepdim=True)
    found = mix_maps(sources, share).check().semantic_log_probs().exp()
    expected = sum(
        share[:, i, None, None] * maps.logits.double().softmax(2) for i, maps in enumerate(sources)
    )
    torch.testing.assert_close(found, expected.float())


def test_a_location_of_one_source_has_its_scores():
    first, second = (smooth_maps(2, seed, cells=4) for seed in (0, 1))
    mixed = mix_maps([first, second], halves(2, 4, 4))
    expected = torch.cat((first.logits[..., :2], second.logits[..., 2:]), -1)
    torch.testing.assert_close(mixed.logits, expected)
    for reading in ('semantic_log_probs', 'spatial_log_probs'):
        pasted = getattr(replace(first, logits=expected), reading)()
        torch.testing.assert_close(getattr(mixed, reading)(), pasted)


def test_an_image_mixed_with_itself_stays():
    maps = smooth_maps(3, 5, cells=4)
    share = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    mixed = mix_maps([maps, maps], torch.cat((share, 1 - share), 1))
    torch.testing.assert_close(mixed.presence, maps.presence)
    torch.testing.assert_close(mixed.logits, maps.logits)


def test_presence_is_by_the_share_of_the_visible_area():
    first, second = (smooth_maps(1, seed, cells=4) for seed in (0, 2))
    share = halves(1, 4, 4)
    share[:, :, :2] = torch.tensor([1.0, 0.0])[None, :, None, None]
    expected = 0.75 * first.presence + 0.25 * second.presence
    torch.testing.assert_close(mix_maps([first, second], share).presence, expected)


def test_locations_that_show_mostly_filler_are_invalid():
    maps = smooth_maps(1, 0, cells=4)
    share = 0.3 * torch.ones(1, 2, 4, 4)
    share[..., 2:, :] = 0.2
    for sources in ([maps], [maps, maps]):
        shown = 2 * share[:, :1] if len(sources) == 1 else share
        assert mix_maps(sources, shown).check().valid[0].tolist() == [[True] * 4] * 2 + [[False] * 4] * 2


@pytest.mark.parametrize('n', [1, 2])
def test_a_picture_of_filler_has_the_presence_of_its_first_image(n):
    maps, other = (smooth_maps(1, seed, cells=4) for seed in (0, 1))
    mixed = mix_maps([maps, other][:n], torch.zeros(1, n, 4, 4)).check()
    assert not mixed.valid.any()
    torch.testing.assert_close(mixed.presence, maps.presence)


def test_maps_that_cannot_be_compared_are_refused():
    maps = replace(smooth_maps(1, 0), directions=('spatial',))
    with pytest.raises(ValueError, match=r"directions \('spatial',\) cannot be mixed: .*unmixed"):
        mix_maps([maps, maps], halves(1, 24, 24))


def test_features_are_averaged():
    first, second = (replace(smooth_maps(2, seed, cells=4), directions=('spatial',)) for seed in (0, 1))
    share = torch.tensor([0.3, 0.7])[None, :, None, None].expand(2, 2, 4, 4)
    mixed = mean_maps([first, second], share)
    torch.testing.assert_close(mixed.logits, 0.3 * first.logits + 0.7 * second.logits)


# ---- crops, flips, mosaics and pairs together ---------------------------------------------------------


def crop_and_flip(seed):
    """Left, top and side in pixels of a square part of a picture, and whether it is mirrored."""
    rng = torch.Generator().manual_seed(seed)
    side = int(torch.randint(SIZE // 2, SIZE + 1, (), generator=rng))
    left, upper = torch.randint(0, SIZE - side + 1, (2,), generator=rng).tolist()
    return left, upper, side, bool(torch.rand((), generator=rng) < 0.5)


def view_of(left, upper, side, mirrored):
    x, y, scale = 2 * (left + side / 2) / SIZE - 1, 2 * (upper + side / 2) / SIZE - 1, side / SIZE
    return torch.tensor([[-scale if mirrored else scale, 0, x], [0, scale, y], [0, 0, 1]])


def meeting(window, left, upper, side, mirrored):
    """Where a view shows a window (2, 2) of its picture, and from the view's window to the old one."""
    start, length = torch.tensor([left, upper]) / SIZE, side / SIZE
    seen = (window - start[:, None]) / length
    if mirrored:
        seen[0] = 1 - seen[0].flip(0)
    met = seen.clamp(0, 1)
    scale, shift = met.diff(dim=1) / seen.diff(dim=1), (met.sum(1) - seen.sum(1))[:, None] / seen.diff(dim=1)
    sign = -1 if mirrored else 1
    return met, torch.tensor([[sign * scale[0], 0, sign * shift[0]], [0, scale[1], shift[1]], [0, 0, 1]])


def pixels_of(values, left, upper, side, mirrored, size=(SIZE, SIZE)):
    """Values (C, h, w) of cells as the pixels of a view show them, (C, *size), one by one."""
    down, across = ((torch.arange(n) + 0.5) * side / n for n in size)
    across = (left + (across.flip(0) if mirrored else across)) * values.shape[-1] / SIZE
    down = (upper + down) * values.shape[-2] / SIZE
    return values[:, down.long()][:, :, across.long()]


class Picture:
    """Picture with its tiles (window, view, share, cover) and its pixels (C, h, w)."""

    def __init__(self, tiles, pixels):
        self.tiles, self.pixels = tiles, pixels

    @classmethod
    def of(cls, values):
        """An image of cells (C, h, w)."""
        return cls([(torch.tensor([[0.0, 1], [0, 1]]), torch.eye(3), 1.0, None)], values)

    @classmethod
    def mosaic(cls, pictures, seed):
        """Four images around a point, each by a part of it; two pixels for one of the others."""
        x, y = torch.randint(SIZE // 3, 2 * SIZE // 3, (2,), generator=torch.Generator().manual_seed(seed))
        rows, columns = ((0, int(y)), (int(y), SIZE)), ((0, int(x)), (int(x), SIZE))
        tiles, pixels = [], torch.zeros(len(pictures[0].pixels), 2 * SIZE, 2 * SIZE)
        for i, (picture, (top_, bottom), (left, right)) in enumerate(
            zip(pictures, [rows[0], rows[0], rows[1], rows[1]], columns * 2)
        ):
            crop = crop_and_flip(seed + i)
            tiles.append((torch.tensor([[left, right], [top_, bottom]]) / SIZE, view_of(*crop), 1.0, None))
            size = 2 * (bottom - top_), 2 * (right - left)
            pixels[:, 2 * top_ : 2 * bottom, 2 * left : 2 * right] = pixels_of(picture.pixels, *crop, size)
        return cls(tiles, pixels)

    def seen(self, seed):
        """A part of it, perhaps mirrored."""
        crop, tiles = crop_and_flip(seed), []
        for window, view, *rest in self.tiles:
            met, inside = meeting(window, *crop)
            tiles.append((met, view @ inside, *rest))
        return Picture(tiles, pixels_of(self.pixels, *crop))

    def blended(self, other, share):
        tiles = [(*tile[:2], share * tile[2], None) for tile in self.tiles]
        tiles += [(*tile[:2], (1 - share) * tile[2], None) for tile in other.tiles]
        return Picture(tiles, share * self.pixels + (1 - share) * other.pixels)

    def pasted(self, other):
        """What of the other lies in a disc, over it."""
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing='ij')
        disc = ((x - 50) ** 2 + (y - 40) ** 2 < 30**2).float()
        cover = F.avg_pool2d(disc[None, None], 2)[0, 0] * 255
        tiles = [(*tile[:3], 255 - cover) for tile in self.tiles]
        tiles += [(*tile[:3], cover) for tile in other.tiles]
        return Picture(tiles, self.pixels * (1 - disc) + other.pixels * disc)

    def as_tiles(self):
        windows, views = (torch.stack([tile[i] for tile in self.tiles])[:, :2] for i in (0, 1))
        covers = [tile[3] for tile in self.tiles]
        covers = None if covers[0] is None else torch.stack(covers).round().byte().numpy()
        return Tiles(windows, views, tuple(tile[2] for tile in self.tiles), covers)


PICTURES = {
    'image': [0],
    'mosaic': [1, 2, 3, 4],
    'mosaic, MixUp': [0, 2, 4, 1, 3],
    'mosaic, CopyPaste': [4, 3, 2, 1, 0],
}
"""Which images each shows."""


def batch_of(values, seed):
    """Pictures of the images whose cells are `values` (S, C, h, w), each in a view."""
    images = [Picture.of(value) for value in values]
    pictures = []
    for i, (kind, which) in enumerate(PICTURES.items()):
        first, *others = [images[j] for j in which]
        if 'mosaic' in kind:
            first = Picture.mosaic([first, *others[:3]], seed + 10 * i)
        first = first.seen(seed + 10 * i)
        if 'MixUp' in kind:
            first = first.blended(others[-1].seen(seed + 10 * i + 5), 0.5)
        if 'CopyPaste' in kind:
            first = first.pasted(others[-1].seen(seed + 10 * i + 5))
        pictures.append(first)
    return pictures


def mixed_pixels(pixels, mixture):
    """What `mixture` makes of pixels (B, C, H, W), pixel by pixel."""
    height, width = mixture.size
    top_, bottom, left, right = mixture.box or (0, height, 0, width)
    pixels = pixels.numpy()
    out = pixels.copy()
    for b, other in enumerate(mixture.other.tolist()):
        for y in range(top_, bottom):
            for x in range(left, right):
                from_y, from_x = y, x
                if mixture.resized:
                    from_y = int((y - top_ + 0.5) * height / (bottom - top_))
                    from_x = int((x - left + 0.5) * width / (right - left))
                theirs = pixels[other, :, from_y, from_x]
                out[b, :, y, x] = mixture.share * pixels[b, :, y, x] + (1 - mixture.share) * theirs
    return torch.from_numpy(out)


MIXTURES = {
    'Mixup': dict(share=0.3),
    'CutMix': dict(box=(10, 71, 35, 96)),
    'ResizeMix': dict(box=(20, 90, 6, 80), resized=True),
}


@pytest.mark.parametrize('kind', [None, *MIXTURES])
@pytest.mark.parametrize('seed', range(3))
def test_crops_flips_mosaics_and_mixtures_agree_with_mixed_pixels(kind, seed):
    maps, grid = smooth_maps(5, seed, cells=48), (12, 12)
    # Beside what the images show, which of them it is.
    images = torch.eye(5)[:, :, None, None].expand(5, 5, 48, 48)
    pictures = batch_of(torch.cat((maps.semantic_log_probs().exp()[:, 0], images), 1), 100 * seed)
    tiles = [picture.as_tiles() for picture in pictures]
    pixels = torch.stack([picture.pixels for picture in pictures])
    every = maps.take(torch.tensor(sum(PICTURES.values(), [])))
    window = image_windows((SIZE, SIZE), [(SIZE, SIZE)] * 4, 'cpu')
    placement = place_tiles(tiles, grid, window)
    if kind is not None:
        mixture = BatchMixture(torch.tensor([1, 2, 3, 0]), (SIZE, SIZE), **MIXTURES[kind])
        placement = mixture.place(tiles, grid, window)
        pixels = mixed_pixels(pixels, mixture)
    sources, share = placement.warp(placement.take(every)), placement.share
    mixed = mix_maps(sources, share).check()

    assert mixed.valid.all()
    torch.testing.assert_close(share.sum(1), torch.ones(4, *grid), atol=0.01, rtol=0)
    expected = F.adaptive_avg_pool2d(pixels[:, :BANK], grid)
    found = mixed.semantic_log_probs().exp()[:, 0]
    for b in range(4):
        assert correlation(found[b], expected[b]) > 0.99
    shown = pixels[:, BANK:].mean((-2, -1))
    torch.testing.assert_close(mixed.presence, shown @ maps.presence, atol=0.015, rtol=0)


@pytest.mark.parametrize('kind', MIXTURES)
def test_labels_are_mixed_by_the_area(kind):
    mixture = BatchMixture(torch.tensor([1, 2, 0]), (SIZE, SIZE), **MIXTURES[kind])
    own = torch.eye(3)
    shown = mixed_pixels(own[:, :, None, None].expand(3, 3, SIZE, SIZE), mixture).mean((-2, -1))
    torch.testing.assert_close(mixture.mix_labels(own), shown)


# The larger one ends within a location, as its left half does.
@pytest.mark.parametrize('size', [SIZE, 100])
@pytest.mark.parametrize('kind', MIXTURES)
def test_padded_images_are_mixed_with_their_padding(kind, size):
    tiles = [Tiles.whole(torch.eye(2, 3))] * 2
    options = dict(MIXTURES[kind])
    if 'box' in options:
        # To the end of the batch.
        options['box'] = (20, size, size - 74, size)
    mixture = BatchMixture(torch.tensor([1, 0]), (size, size), **options)
    # The second fills the left half of the batch, and this three quarters of the canvas or more.
    sizes = [(size, size), (size, size // 2)]
    window = image_windows((128, 128), sizes, 'cpu')
    share = mixture.place(tiles, (16, 16), window, (128, 128)).share
    shown = torch.zeros(2, 1, size, size)
    shown[0], shown[1, :, :, : size // 2] = 1, 1
    expected = [torch.zeros(2, 1, 128, 128) for _ in range(2)]
    for i, image in enumerate((0, 1)):
        # Which part of each pixel is the first image's, which the second's.
        one = torch.zeros_like(shown)
        one[image] = shown[image]
        expected[i][..., :size, :size] = mixed_pixels(one, mixture)
    for b in range(2):
        for i, image in enumerate((b, 1 - b)):
            wanted = F.avg_pool2d(expected[image][b], 8)[0]
            torch.testing.assert_close(share[b, i], wanted, atol=0.02, rtol=0)


def test_a_box_without_pixels_shows_nothing_of_the_other():
    maps = smooth_maps(2, 0, cells=4)
    for resized in (False, True):
        mixture = BatchMixture(torch.tensor([1, 0]), (SIZE, SIZE), box=(30, 30, 40, 40), resized=resized)
        window = image_windows((SIZE, SIZE), [(SIZE, SIZE)] * 2, 'cpu')
        placement = mixture.place([Tiles.whole(torch.eye(2, 3))] * 2, (4, 4), window)
        mixed = mix_maps(placement.warp(placement.take(maps)), placement.share).check()
        torch.testing.assert_close(mixed.logits, maps.logits, rtol=1e-4, atol=1e-3)


def test_a_box_beside_what_an_image_shows_shows_nothing_of_it():
    maps = smooth_maps(2, 0, cells=4)
    # The first image ends after 24 of 64 pixels, and the other one begins there; the box holds these 24.
    left, right = torch.tensor([[[0.0, 24 / 64], [0, 1]]]), torch.tensor([[[24 / 64, 1.0], [0, 1]]])
    tiles = [Tiles(window, torch.eye(2, 3)[None], (1.0,)) for window in (left, right)]
    mixture = BatchMixture(torch.tensor([1, 0]), (64, 64), box=(0, 64, 0, 24))
    placement = mixture.place(tiles, (4, 4), image_windows((64, 64), [(64, 64)] * 2, 'cpu'))
    share = placement.share
    torch.testing.assert_close(share[0], torch.zeros_like(share[0]))
    torch.testing.assert_close(share[1].sum(0), torch.ones(4, 4))
    assert not mix_maps(placement.warp(placement.take(maps)), share).valid[0].any()
