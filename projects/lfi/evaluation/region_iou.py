"""How well the strongest part of a map covers a region."""

from torch import Tensor

from .pointing_game import check_finite, check_masks


def region_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """IoU of each mask with the strongest pixels of its map, as many as the mask has, (N,) in [0, 1].

    There is no threshold to choose, and only the order of a map's values counts. Pixels that tie with the
    last one are taken too, so that a flat map gives the mask's share s of the image; one in random order
    gives s / (2 - s) in the mean.

    Args:
        maps: (N, h, w) float, higher is stronger.
        masks: (N, h, w) bool, where the concept can be seen.

    Raises:
        ValueError: If the shapes differ, `masks` is not bool, a mask is empty, or a map is not finite.
    """
    check_masks(masks)
    check_finite(maps, 'maps')
    if maps.shape != masks.shape:
        raise ValueError(f'maps is {tuple(maps.shape)}: expected the shape of masks, {tuple(masks.shape)}')
    values, inside = maps.flatten(1), masks.flatten(1)
    count = inside.sum(1, keepdim=True)
    if not count.all():
        raise ValueError(f'masks is empty for {(count == 0).nonzero()[:, 0].tolist()}: there is no region')
    weakest = values.sort(1, descending=True).values.gather(1, count - 1)
    taken = values >= weakest
    return (taken & inside).sum(1) / (taken | inside).sum(1)
