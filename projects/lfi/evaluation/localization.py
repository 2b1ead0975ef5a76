"""Localization measures: a map against a region, and a map against a map.

`SemanticConsistencyMetric` reports them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MEASURES = ('pointing', 'energy', 'average_precision')


def localization(maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Compute all `MEASURES`, each (N,) float32 in [0, 1].

    Args:
        maps: (N, H, W) float, higher is stronger. They are resized to the masks, bilinearly.
        masks: (N, h, w) bool, visible pixels of the concept.
    """
    return {
        'pointing': pointing_game(maps, masks),
        'energy': energy_pointing_game(maps, masks),
        'average_precision': map_average_precision(maps, masks),
    }


def energy_pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of the energy of each map inside its mask, (N,), after scaling the map to [0, 1].

    Measure of Wang et al., "Score-CAM", CVPR Workshops 2020, section 4.3. A flat map scores the share of the
    image that the mask covers. Arguments as in `localization`.
    """
    values = resize_to_masks(maps, masks).flatten(1)  # [N, h * w]
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    flat = high == low
    values = torch.where(flat, 1.0, (values - low) / (high - low).where(~flat, 1.0))
    return (values * masks.flatten(1)).sum(1) / values.sum(1)


def map_average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """Average precision of each map as a ranking of pixels, with the pixels of the mask as positives, (N,).

    Equal values share a rank, so a flat map scores the chance level: the share of the image that the mask
    covers. Arguments as in `localization`.
    """
    return average_precision(resize_to_masks(maps, masks).flatten(1), masks.flatten(1))


def average_precision(scores: Tensor, hits: Tensor) -> Tensor:
    """Average precision of each row of scores, (N,).

    Equal scores share a rank: their order does not affect the result.

    Args:
        scores: (N, P) float, higher ranks first.
        hits: (N, P) bool, positives, at least one in each row.
    """
    values, order = scores.sort(1, descending=True)
    ranked_hits = hits.gather(1, order)
    ranks = torch.arange(1, values.shape[1] + 1, device=values.device)
    precision = ranked_hits.cumsum(1) / ranks
    # Equal scores take the precision at the last of them.
    ends = torch.searchsorted(-values, -values, right=True) - 1
    return (precision.gather(1, ends) * ranked_hits).sum(1) / ranked_hits.sum(1)


def centre_map(size: tuple[int, int]) -> Tensor:
    """Centre-bias baseline, (H, W): a Gaussian with a standard deviation of a quarter of each side."""
    y, x = (torch.linspace(-1, 1, 2 * side + 1)[1::2] / 0.5 for side in size)
    return (-(y[:, None].square() + x.square()) / 2).exp()


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Pointing game: whether the maximum of each map lies in its mask.

    Args:
        maps: (N, H, W) float, higher is stronger. They are resized to the masks, bilinearly.
        masks: (N, h, w) bool, visible pixels of the object.

    Returns:
        (N,) float32, 1 for a hit. If several pixels share the maximum, as in a flat map, the share of these
        pixels that lies in the mask.

    Raises:
        ValueError: if the shapes do not fit, or a map is not finite.
    """
    check_masks(masks)
    if maps.ndim != 3 or len(maps) != len(masks):
        raise ValueError(f'maps is {tuple(maps.shape)}: expected (N, H, W) with the N of masks, {len(masks)}')
    if not len(maps):
        return maps.new_zeros(0)
    resized = resize_to_masks(maps, masks)
    high, low = resized.amax((1, 2), keepdim=True), resized.amin((1, 2), keepdim=True)
    # The tolerance covers rounding by the interpolation, which separates equal values.
    strongest = resized >= high - 1e-6 * (high - low)
    return (strongest & masks).sum((1, 2)) / strongest.sum((1, 2))


def zero_flat_maps(maps: Tensor) -> Tensor:
    """Set flat maps of (N, H, W) to 0: rounding by the interpolation would give other values a maximum."""
    flat = maps.amax((1, 2), keepdim=True) == maps.amin((1, 2), keepdim=True)
    return maps.masked_fill(flat, 0)


def resize_to_masks(maps: Tensor, masks: Tensor) -> Tensor:
    """Resize maps (N, H, W) to the pixels of masks (N, h, w), bilinearly, as float32.

    Raises:
        ValueError: if `masks` is not (N, h, w) bool, or a map is not finite.
    """
    check_masks(masks)
    check_finite(maps, 'maps')
    return F.interpolate(zero_flat_maps(maps.float())[:, None], masks.shape[1:], mode='bilinear')[:, 0]


def chance_level(masks: Tensor) -> float:
    """Chance level of the pointing game: the mean share of the image that a mask (N, h, w) covers.

    Raises:
        ValueError: if `masks` is not (N, h, w) bool, or N is 0.
    """
    check_masks(masks)
    if not len(masks):
        raise ValueError('masks is empty: there is no chance level without objects')
    return masks.float().mean().item()


def check_finite(values: Tensor, name: str) -> None:
    """Raise a ValueError if any value is not finite."""
    if not values.isfinite().all():
        raise ValueError(f'{name} has values that are not finite')


def check_masks(masks: Tensor) -> None:
    """Raise a ValueError if `masks` is not (N, h, w) bool."""
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise ValueError(f'masks is {tuple(masks.shape)} {masks.dtype}: expected (N, h, w) torch.bool')


def region_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """IoU of each mask with the strongest pixels of its map, (N,) in [0, 1].

    As many pixels are selected as the mask has, so there is no threshold to choose. Ties with the weakest
    selected pixel are selected too. A flat map scores the share s of the image that the mask covers, a random
    map s / (2 - s) on average.

    Args:
        maps: (N, h, w) float, higher is stronger.
        masks: (N, h, w) bool, visible pixels of the concept.

    Raises:
        ValueError: if the shapes differ, `masks` is not bool, a mask is empty, or a map is not finite.
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
    selected = values >= weakest
    return (selected & inside).sum(1) / (selected | inside).sum(1)


# Constant of Bylinskii et al., TPAMI 2019: MATLAB's eps.
EPSILON = np.finfo(np.float64).eps


def rank_correlations(maps: np.ndarray) -> np.ndarray:
    """Spearman's correlations of all pairs of maps, (V, V) in [-1, 1]; 0 for pairs with a flat map.

    Args:
        maps: (V, P), V >= 2 maps over the same P locations.

    Raises:
        ValueError: if a map is not finite.
    """
    if not np.isfinite(maps).all():
        raise ValueError('maps has values that are not finite')
    # It takes a second to import, which trainings need not wait for.
    from scipy.stats import rankdata

    with np.errstate(divide='ignore', invalid='ignore'):
        return np.nan_to_num(np.corrcoef(rankdata(maps, axis=1)))


def normalized_scanpath_saliency(saliency: np.ndarray, fixations: np.ndarray) -> float:
    """Normalized scanpath saliency: the mean of the standardised map over fixations; 0 for a flat map.

    Args:
        saliency: (P,), the map.
        fixations: (P,), number of fixations at each location, at least 0. For a heat map, the result is the
            expected value for fixations drawn from it.
    """
    if np.ptp(saliency) == 0:
        return 0.0
    return float(np.average((saliency - saliency.mean()) / saliency.std(), weights=fixations))


def kl_divergence(saliency: np.ndarray, heat: np.ndarray) -> float:
    """KL(heat || saliency) in nats, after scaling both maps to a sum of 1.

    Args:
        saliency: (P,), the map, 0 or more.
        heat: (P,), the reference map, 0 or more.
    """
    p, q = (np.asarray(values, np.float64) / values.sum(dtype=np.float64) for values in (saliency, heat))
    return float((q * np.log(EPSILON + q / (EPSILON + p))).sum())
