"""What holds for every extractor that reads patches."""

import torch
from slow_vit import forget_positions, move_patches, random, unit_texts


@torch.no_grad()
def test_maps_move_with_what_moves(make_extractor):
    extractor, name = make_extractor(forget_positions)
    images, texts = torch.zeros(1, 3, 32, 32), unit_texts()
    images[:, :, 8:16, 16:24] = 2 * random(3, 8, 8)
    moves = [lambda grid: grid.flip(-2, -1)]
    if name != 'naclip':
        # Its neighbourhood does not reach around the rim.
        moves.append(lambda grid: grid.roll((1, 2), (-2, -1)))
    maps, _ = extractor(images, texts)
    assert (maps - maps.mean((-2, -1), keepdim=True)).abs().max() > 1e-3
    for move in moves:
        moved, _ = extractor(move_patches(images, move), texts)
        torch.testing.assert_close(moved, move(maps), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_all_that_is_read_moves_to_a_device(make_extractor):
    extractor, _ = make_extractor(forget_positions)
    extractor.to(torch.device('meta'))
    maps, pooled = extractor(random(1, 3, 32, 48).to('meta'), unit_texts().to('meta'))
    assert maps.shape[-2:] == (4, 6)
    assert maps.device.type == pooled.device.type == 'meta'


@torch.no_grad()
def test_autocast_changes_little(make_extractor):
    extractor, _ = make_extractor(lambda visual: None)
    images, texts = random(2, 3, 32, 32), unit_texts()
    expected, _ = extractor(images, texts)
    with torch.autocast('cpu', torch.bfloat16):
        maps, _ = extractor(images, texts)
    spread = (expected - expected.mean((-2, -1), keepdim=True)).abs().max()
    assert (maps - expected).abs().max() < 0.1 * spread
