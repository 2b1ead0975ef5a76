"""Calibration of presence: its error, and a logistic fit that reduces it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lfi.structures.presence_fit import MARGIN, fitted_presence

BINS = 15


def calibration_error(presence: Tensor, visible: Tensor) -> float:
    """Expected calibration error of N answers, in 15 bins of equal width (Guo et al., ICML 2017, eq. 3).

    Args:
        presence: (N,) float in [0, 1].
        visible: (N,) bool, what is true.
    """
    bins = (presence * BINS).long().clamp_max(BINS - 1)
    gaps = presence.double() - visible.double()
    # The mean of a bin's gap, times the share of its answers, is the sum of its gaps by N.
    return gaps.new_zeros(BINS).index_add(0, bins, gaps).abs().sum().item() / len(presence)


def fit_presence(presence: Tensor, visible: Tensor) -> tuple[float, float]:
    """Fit the scale and the offset of `fitted_presence` to N answers, by maximum likelihood.

    Args:
        presence: (N,) float in [0, 1].
        visible: (N,) bool, what is true, with both values.

    Raises:
        ValueError: if nothing is visible, or everything is.
    """
    if visible.all() or not visible.any():
        raise ValueError('visible: a fit needs answers of both kinds')
    logits, targets = presence.double().logit(eps=MARGIN), visible.double()
    # As Platt does: targets a little inside of 0 and 1 keep a separable fit finite.
    shown, absent = targets.sum(), (1 - targets).sum()
    targets = torch.where(visible, (shown + 1) / (shown + 2), 1 / (absent + 2))
    with torch.inference_mode(False), torch.enable_grad():
        fit = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([fit], max_iter=100, line_search_fn='strong_wolfe')

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = F.binary_cross_entropy_with_logits(fit[0] * logits + fit[1], targets)
            value.backward()
            return value

        optimizer.step(loss)
    return fit[0].item(), fit[1].item()


def fitted_by_halves(presence: Tensor, visible: Tensor, counted: Tensor) -> Tensor | None:
    """Fit presence on the images at even places for those at odd ones, and the other way round.

    Args:
        presence: (N, C) in [0, 1].
        visible: (N, C) bool, what is true.
        counted: (N, C) bool, answers that count.

    Returns:
        Fitted presence (N, C); None if a half has only answers of one kind, or ranks absent concepts higher.
    """
    fitted = presence.clone()
    for fit_on, use_on in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        shown = visible[fit_on][counted[fit_on]]
        if shown.all() or not shown.any():
            return None
        fit = fit_presence(presence[fit_on][counted[fit_on]], shown)
        if fit[0] <= 0:
            return None
        fitted[use_on] = fitted_presence(presence[use_on], fit)
    return fitted
