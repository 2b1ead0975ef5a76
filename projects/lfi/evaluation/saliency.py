"""How alike two maps are: measures of the saliency benchmarks.

NSS and KL as in Bylinskii et al., "What do different evaluation metrics tell us about saliency models?",
TPAMI 2019, section 4.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

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
