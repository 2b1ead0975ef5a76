import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binomtest

from research.human_study.preferences import (
    Preferences,
    bootstrap_interval,
    bradley_terry,
    krippendorff_alpha,
    preference_table,
    summarize,
    wilson_interval,
    win_rate,
)

answers = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1, max_size=40)


def simulated(n_raters=12, n_images=20, p_win=0.6, p_tie=0.2, seed=0):
    """A study in which all raters answer all pairs, one an image."""
    rng = np.random.default_rng(seed)
    raters, images = (grid.ravel() for grid in np.indices((n_raters, n_images)))
    scores = rng.choice([1, 0.5, 0], len(raters), p=[p_win, p_tie, 1 - p_win - p_tie])
    return Preferences(scores, rng.random(len(raters)) < 0.5, raters, images, images)


@given(st.integers(1, 60), st.data())
def test_wilson_is_scipys(n, data):
    k = data.draw(st.integers(0, n))
    theirs = binomtest(k, n).proportion_ci(method='wilson')
    assert wilson_interval(k / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_ties_count_half():
    scores = np.array([1, 0.5, 0, 0.5])
    assert win_rate(scores) == 0.5
    assert win_rate(scores, np.array([3, 1, 0, 0])) == 3.5 / 4


def firth(scores, a_on_left):
    """Odds by the maximum of the penalised likelihood of a logistic regression on a constant and the side."""
    preferred = scores != 0.5
    y, side = scores[preferred], np.where(a_on_left[preferred], 1, -1)
    design = np.stack([np.ones(len(side)), side], 1)

    def cost(beta):
        p = 1 / (1 + np.exp(-design @ beta))
        information = design.T @ (design * (p * (1 - p))[:, None])
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum() - np.linalg.slogdet(information)[1] / 2

    return np.exp(minimize(cost, np.zeros(2), method='Nelder-Mead', options=dict(xatol=1e-8, fatol=1e-12)).x)


@pytest.mark.parametrize('p_win', [0.4, 0.6, 0.75])
def test_odds_are_those_of_a_penalised_logistic_regression(p_win):
    study = simulated(6, 10, p_win)
    assert bradley_terry(study.scores, study.a_on_left) == pytest.approx(
        firth(study.scores, study.a_on_left), rel=1e-4
    )


def test_the_bootstrap_draws_raters_and_images():
    study = simulated(5, 7)
    interval = bootstrap_interval(
        lambda weights: [win_rate(study.scores, weights), weights.sum()],
        study.raters,
        study.images,
        draws=400,
        seed=3,
    )
    # One by one: the answers of each drawn rater to each drawn image.
    rng = np.random.default_rng(4)
    by_rater = study.scores.reshape(5, 7)
    rates = [by_rater[rng.integers(5, size=5)][:, rng.integers(7, size=7)].mean() for _ in range(20_000)]
    assert interval[:, 0] == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.03)
    # A whole design stays as large as it is.
    assert interval[:, 1].tolist() == [35, 35]


def test_the_bootstrap_passes_over_empty_samples():
    # Two raters, each of another image: half of the samples hold nothing.
    low, high = bootstrap_interval(lambda weights: 1 / weights.sum(), np.arange(2), np.arange(2), 200)
    assert np.isfinite([low, high]).all()


@pytest.mark.parametrize('units', [[0, 1, 2], [0, 0, 1]])
def test_alpha_needs_a_unit_with_two_values_that_differ(units):
    assert krippendorff_alpha(np.array([1.0, 1.0, 0.0]), np.array(units)) is None


def test_alpha_of_krippendorffs_own_example():
    ratings = """
        1 2 3 3 2 1 4 1 2 . . .
        1 2 3 3 2 2 4 1 2 5 . 3
        . 3 3 3 2 3 4 2 2 5 1 .
        1 2 3 3 2 4 4 1 2 5 1 .
    """
    values, units = [], []
    for line in ratings.split('\n'):
        for unit, cell in enumerate(line.split()):
            if cell != '.':
                values.append(float(cell))
                units.append(unit)
    assert krippendorff_alpha(np.array(values), np.array(units)) == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize('seed', range(4))
def test_a_summary_holds_together(seed):
    study = simulated(4, 6, seed=seed)
    found = summarize(study)
    for measure in (found['win_rate'], found['odds'], found['left_odds']):
        low, high = measure['bootstrap']
        assert low <= measure['value'] <= high
    low, high = found['win_rate']['wilson']
    assert 0 <= low < found['win_rate']['value'] < high <= 1
    assert (found['answers'], found['raters'], found['images']) == (24, 4, 6)
    assert found['ties'] == (study.scores == 0.5).mean()
    assert preference_table(found).count('\n') == 7


def test_a_study_of_one_mind_has_finite_numbers():
    n = 12
    study = Preferences(np.ones(n), np.arange(n) % 2 == 0, np.zeros(n), np.arange(n), np.arange(n))
    found = summarize(study)
    assert found['win_rate']['value'] == 1 and found['win_rate']['wilson'][0] == pytest.approx(
        0.757, abs=1e-3
    )
    assert found['odds']['value'] == 13
    assert found['agreement'] is None
    assert '| not defined |' in preference_table(found)


def test_wrong_answers_are_refused():
    with pytest.raises(ValueError, match='a_on_left has 1 values'):
        Preferences([1, 0], [True], [0, 1], [0, 1], [0, 1])
    with pytest.raises(ValueError, match=r'scores must be 0, 0.5 or 1, got \[0.25, 1.0\]'):
        Preferences([1, 0.25], [True, True], [0, 1], [0, 1], [0, 1])
    with pytest.raises(ValueError, match='scores has 0 values'):
        Preferences([], [], [], [], [])
