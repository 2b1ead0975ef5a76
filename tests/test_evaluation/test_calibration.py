"""Calibration error and logistic fits, against slow references."""

import numpy as np
import pytest
import torch
from lfi.evaluation.calibration import calibration_error, fit_presence, fitted_by_halves
from lfi.structures import fitted_presence


def answers(number: int = 4000, scale: float = 1.0, offset: float = 0.0, seed: int = 0):
    """Presence, and visibility by the probability sigmoid(scale * logit + offset)."""
    generator = torch.Generator().manual_seed(seed)
    presence = torch.rand(number, generator=generator) ** 2
    shown = torch.rand(number, generator=generator) < fitted_presence(presence, (scale, offset))
    return presence, shown


def test_the_error_is_the_mean_gap_of_the_bins():
    presence, shown = answers(500, 0.5, 1)
    presence[0], shown[0] = 1.0, False
    expected = 0.0
    for k in range(15):
        low, high = k / 15, (k + 1) / 15
        chosen = (presence >= low) & ((presence < high) if k < 14 else torch.tensor(True))
        if chosen.any():
            gap = presence[chosen].mean() - shown[chosen].float().mean()
            expected += float(chosen.float().mean() * gap.abs())
    assert calibration_error(presence, shown) == pytest.approx(expected, abs=1e-4)


def test_a_fit_finds_the_scale_and_the_offset_and_removes_the_error():
    presence, shown = answers(20_000, 1.5, -1)
    fit = fit_presence(presence, shown)
    np.testing.assert_allclose(fit, (1.5, -1), atol=0.1)
    others, truth = answers(20_000, 1.5, -1, seed=1)
    assert calibration_error(fitted_presence(others, fit), truth) < 0.02 < calibration_error(others, truth)
    # The order stays.
    assert (fitted_presence(others, fit).argsort() == others.argsort()).float().mean() > 0.99


def test_a_perfect_ranking_has_a_finite_fit():
    fit = fit_presence(torch.tensor([0.1, 0.2, 0.8, 1.0]), torch.tensor([False, False, True, True]))
    assert np.isfinite(fit).all() and fit[0] > 0
    with pytest.raises(ValueError, match='answers of both kinds'):
        fit_presence(torch.rand(3), torch.ones(3, dtype=torch.bool))


def test_halves_are_fitted_by_one_another():
    presence, shown = (values.view(100, 40) for values in answers(4000, 1.0, 2))
    counted = torch.ones_like(shown)
    counted[:, 0] = False
    fitted = fitted_by_halves(presence, shown, counted)
    odd = fit_presence(presence[1::2, 1:].flatten(), shown[1::2, 1:].flatten())
    torch.testing.assert_close(fitted[::2], fitted_presence(presence[::2], odd))
    # What does not count changes nothing.
    shown[:, 0] = ~shown[:, 0]
    assert torch.equal(fitted_by_halves(presence, shown, counted), fitted)
    # Nothing is shown in one half; and a ranking that is upside down has no fit that keeps its order.
    shown[::2] = False
    assert fitted_by_halves(presence, shown, counted) is None
    assert fitted_by_halves(presence, presence < 0.3, counted) is None
