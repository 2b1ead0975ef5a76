"""How well maps lie on what they name: measures of one map against one region, and of one against another.

`SemanticConsistencyMetric` of `localization_metric.py` reports them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F

MEASURES = ('pointing', 'energy', 'average_precision')


def localization(maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """All of `MEASURES`, each (N,) float32 in [0, 1].

    Args:
        maps: (N, H, W) float, higher is stronger; brought to the masks' size, bilinearly.
        masks: (N, h, w) bool, where the concept can be seen.
    """
    return {
        'pointing': pointing_game(maps, masks),
        'energy': energy_pointing_game(maps, masks),
        'average_precision': map_average_precision(maps, masks),
    }


def energy_pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of a map's energy inside its mask, (N,), with each map brought to [0, 1].

    (Wang et al., "Score-CAM", CVPR Workshops 2020, section 4.3.) A flat map gives the mask's share of the
    image.
    """
    values = on_pixels(maps, masks).flatten(1)  # [N, h * w]
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    flat = high == low
    values = torch.where(flat, 1.0, (values - low) / (high - low).where(~flat, 1.0))
    return (values * masks.flatten(1)).sum(1) / values.sum(1)


def map_average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """Average precision of the map as a detector of its mask's pixels, (N,); by chance the mask's share.

    Equal values are found together, so that their order does not count: a flat map gives the mask's share.
    """
    return average_precision(on_pixels(maps, masks).flatten(1), masks.flatten(1))


def average_precision(scores: Tensor, hits: Tensor) -> Tensor:
    """Average precision of each row of scores as a ranking of its hits, (N,).

    Equal scores are found together, so that their order does not count.

    Args:
        scores: (N, P) float, higher is found first.
        hits: (N, P) bool, at least one in each row.
    """
    values, order = scores.sort(1, descending=True)
    found = hits.gather(1, order)
    ranks = torch.arange(1, values.shape[1] + 1, device=values.device)
    precision = found.cumsum(1) / ranks
    # The precision of a score is that of the last one with its value.
    ends = torch.searchsorted(-values, -values, right=True) - 1
    return (precision.gather(1, ends) * found).sum(1) / found.sum(1)


def centre_map(size: tuple[int, int]) -> Tensor:
    """The map of one who always looks at the middle, (H, W): a Gaussian, a quarter of each side wide."""
    y, x = (torch.linspace(-1, 1, 2 * side + 1)[1::2] / 0.5 for side in size)
    return (-(y[:, None].square() + x.square()) / 2).exp()


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Resize each map to its mask, bilinearly, and look whether the maximum lies in the mask.

    Args:
        maps: (N, H, W) float, one map an object; higher is stronger.
        masks: (N, h, w) bool, where the object can be seen; of any size.

    Returns:
        Tensor: (N,) float32, 1 for a hit; where several pixels are the maximum, as in a flat map, the
        share of them in the mask.

    Raises:
        ValueError: For another number of dimensions, for another N, or for a map that is not finite.
    """
    check_masks(masks)
    if maps.ndim != 3 or len(maps) != len(masks):
        raise ValueError(f'maps is {tuple(maps.shape)}: expected (N, H, W) with the N of masks, {len(masks)}')
    if not len(maps):
        return maps.new_zeros(0)
    resized = on_pixels(maps, masks)
    most, least = resized.amax((1, 2), keepdim=True), resized.amin((1, 2), keepdim=True)
    # Interpolation rounds equal values apart.
    strongest = resized >= most - 1e-6 * (most - least)
    return (strongest & masks).sum((1, 2)) / strongest.sum((1, 2))


def level(maps: Tensor) -> Tensor:
    """Maps (N, H, W), flat ones at 0: of another value interpolation would round some pixels up."""
    flat = maps.amax((1, 2), keepdim=True) == maps.amin((1, 2), keepdim=True)
    return maps.masked_fill(flat, 0)


def on_pixels(maps: Tensor, masks: Tensor) -> Tensor:
    """Maps (N, H, W) as float32 on the pixels of masks (N, h, w): (N, h, w).

    Raises:
        ValueError: As `check_masks` and `check_finite` say.
    """
    check_masks(masks)
    check_finite(maps, 'maps')
    return F.interpolate(level(maps.float())[:, None], masks.shape[1:], mode='bilinear')[:, 0]


def chance_level(masks: Tensor) -> float:
    """The share of hits of a pixel drawn at random: the mean share of the image that a mask (N, h, w) covers.

    Raises:
        ValueError: If `masks` is not (N, h, w) bool, or N is 0.
    """
    check_masks(masks)
    if not len(masks):
        raise ValueError('masks is empty: there is no chance level without objects')
    return masks.float().mean().item()


def check_finite(values: Tensor, name: str) -> None:
    """Raise a ValueError if values are not finite: they would be compared as if they were."""
    if not values.isfinite().all():
        raise ValueError(f'{name} has values that are not finite')


def check_masks(masks: Tensor) -> None:
    """Raise a ValueError if masks is not (N, h, w) bool."""
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise ValueError(f'masks is {tuple(masks.shape)} {masks.dtype}: expected (N, h, w) torch.bool')


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


# The paper's constant, MATLAB's eps.
EPSILON = np.finfo(np.float64).eps


def rank_correlations(maps: np.ndarray) -> np.ndarray:
    """Spearman's correlations of all pairs of maps, (V, V) in [-1, 1]; 0 with a map that is flat.

    Args:
        maps: (V, P), V >= 2 maps over the same P locations.

    Raises:
        ValueError: If a map is not finite.
    """
    if not np.isfinite(maps).all():
        raise ValueError('maps has values that are not finite')
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.nan_to_num(np.corrcoef(rankdata(maps, axis=1)))


def normalized_scanpath_saliency(saliency: np.ndarray, fixations: np.ndarray) -> float:
    """NSS: the mean of the standardised map where people looked, in standard deviations; 0 for a flat map.

    Args:
        saliency: (P,), the map.
        fixations: (P,), at least 0, the number of fixations at each location. A heat map stands for the
            fixations that would be drawn from it: their expected NSS.
    """
    if np.ptp(saliency) == 0:
        return 0.0
    return float(np.average((saliency - saliency.mean()) / saliency.std(), weights=fixations))


def kl_divergence(saliency: np.ndarray, heat: np.ndarray) -> float:
    """KL(heat || saliency) in nats, both brought to a sum of 1; 0 where they are the same.

    Args:
        saliency: (P,), at least 0, the map.
        heat: (P,), likewise, what it is measured against.
    """
    p, q = (np.asarray(values, np.float64) / values.sum(dtype=np.float64) for values in (saliency, heat))
    return float((q * np.log(EPSILON + q / (EPSILON + p))).sum())
