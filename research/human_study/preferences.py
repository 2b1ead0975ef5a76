"""Statistics of preferences between two sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import krippendorff
import numpy as np
from lfi.utils import markdown
from scipy.stats import norm
from scipy.stats.contingency import crosstab

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Preferences:
    """N answers to the question whether A or B is better.

    Args:
        scores: (N,), 1 if A was preferred, 0.5 for a tie, 0 for B.
        a_on_left: (N,), bool, whether A was shown on the left.
        raters: (N,), names of the raters.
        images: (N,), names of the images.
        pairs: (N,), names of the pairs; pairs may share an image.

    Raises:
        ValueError: if the lengths differ or are 0, or a score is not 0, 0.5 or 1.
    """

    scores: np.ndarray
    a_on_left: np.ndarray
    raters: np.ndarray
    images: np.ndarray
    pairs: np.ndarray

    def __post_init__(self) -> None:
        for name in ('scores', 'a_on_left', 'raters', 'images', 'pairs'):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
            length = len(getattr(self, name))
            if not length or length != len(self.scores):
                raise ValueError(f'{name} has {length} values: all must have the same number, 1 or more')
        if not np.isin(self.scores, (0, 0.5, 1)).all():
            raise ValueError(f'scores must be 0, 0.5 or 1, got {sorted(set(self.scores.tolist()))}')


def win_rate(scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean of the scores (N,), with weights (N,) if given; a tie counts half."""
    return float(np.average(scores, weights=weights))


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson, 1927), for n independent answers.

    Ties, which count half, vary less than the formula assumes, so the interval is slightly too wide.
    """
    z = norm.ppf((1 + LEVEL) / 2)
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return float(max(0, centre - reach)), float(min(1, centre + reach))


def bradley_terry(
    scores: np.ndarray, a_on_left: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the odds of A against B and of the left against the right side, among answers without ties.

    The model of Bradley and Terry (1952) with ties (Davidson, 1970) and an order effect (Davidson and Beaver,
    1977), given that there is a preference: A is preferred with odds `a * left` when it is on the left, and
    with odds `a / left` when it is on the right. For two sources, `a` and `left` are the square roots of the
    product and the ratio of the odds in the two orders. Half an answer is added to each count (Firth, 1993),
    which keeps the odds finite if all raters agree.

    Args:
        scores: (N,), 1 if A was preferred, 0.5 for a tie, 0 for B.
        a_on_left: (N,), bool, whether A was shown on the left.
        weights: (N,), weight of each answer. Defaults to None: 1 each.

    Returns:
        `a` and `left`; 1 is no preference.
    """
    weights = np.ones(len(scores)) if weights is None else weights

    def odds(on_left: bool) -> float:
        wins, losses = (weights[(scores == score) & (a_on_left == on_left)].sum() + 0.5 for score in (1, 0))
        return wins / losses

    when_left, when_right = odds(True), odds(False)
    return float(np.sqrt(when_left * when_right)), float(np.sqrt(when_left / when_right))


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float | Sequence[float]],
    raters: np.ndarray,
    images: np.ndarray,
    draws: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Return the 95 % percentile interval of a statistic under resampling of raters and images.

    Answers of one rater are correlated, and so are answers about one image. Both are resampled with
    replacement, and the weight of an answer is the product of its rater's and its image's weights (pigeonhole
    bootstrap; Owen, Annals of Applied Statistics 2007, which shows it to be conservative).

    Args:
        statistic: A function of weights (N,) that returns one number or S.
        raters: (N,), names of the raters; with a single rater only the images are resampled.
        images: (N,), names of the images.
        draws: number of samples. Defaults to 2000.
        seed: seed of the samples. Defaults to 0.

    Returns:
        (2,) or (2, S), lower and upper ends. Samples without answers are skipped.
    """
    rng = np.random.default_rng(seed)
    samples = zip(_resampled(raters, draws, rng), _resampled(images, draws, rng))
    values = [statistic(by_rater * by_image) for by_rater, by_image in samples if by_rater @ by_image]
    return np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)


def krippendorff_alpha(values: np.ndarray, units: np.ndarray) -> float | None:
    """Return the agreement of the raters beyond chance: 1 is perfect, 0 is chance.

    This is Krippendorff's alpha for interval data: a tie differs from both preferences by half of their
    difference. Units with one value are skipped, so raters need not rate all units.

    Args:
        values: (N,), ratings.
        units: (N,), unit of each rating; a rater rates a unit once.

    Returns:
        Alpha. None if no unit has two values, or if all values of such units are equal.
    """
    (_, domain), counts = crosstab(units, values)
    counts = counts[counts.sum(1) > 1]
    if np.count_nonzero(counts.sum(0)) < 2:
        return None
    return float(
        krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement='interval')
    )


def summarize(answers: Preferences) -> dict:
    """Return all statistics of a study.

    Args:
        answers: answers of the raters.

    Returns:
        A dict with the counts of `answers`, `raters` and `images`; `win_rate`, `odds` of A and `left_odds`,
        each with its `value` and `bootstrap` interval, and for the win rate the `wilson` interval; the share
        of `ties`; and `agreement`, None if it is not defined.
    """

    def statistic(weights: np.ndarray) -> tuple[float, float, float]:
        return win_rate(answers.scores, weights), *bradley_terry(answers.scores, answers.a_on_left, weights)

    n = len(answers.scores)
    low, high = bootstrap_interval(statistic, answers.raters, answers.images)
    summary: dict[str, Any] = {
        name: dict(value=value, bootstrap=[float(low[i]), float(high[i])])
        for i, (name, value) in enumerate(zip(('win_rate', 'odds', 'left_odds'), statistic(np.ones(n))))
    }
    summary['win_rate']['wilson'] = list(wilson_interval(summary['win_rate']['value'], n))
    return dict(
        answers=n,
        raters=len(np.unique(answers.raters)),
        images=len(np.unique(answers.images)),
        **summary,
        ties=float(np.mean(answers.scores == 0.5)),
        agreement=krippendorff_alpha(answers.scores, answers.pairs),
    )


def preference_table(summary: dict) -> str:
    """Format the result of `summarize` as a Markdown table."""
    rate, odds, left = (summary[name] for name in ('win_rate', 'odds', 'left_odds'))
    alpha = summary['agreement']
    rows = [
        ('win rate of A, a tie counted half', f'{rate["value"]:.1%}', _span(rate['bootstrap'], '.1%')),
        ("the same, Wilson's interval", f'{rate["value"]:.1%}', _span(rate['wilson'], '.1%')),
        ('odds of A against B (Bradley-Terry)', f'{odds["value"]:.2f}', _span(odds['bootstrap'], '.2f')),
        ('odds of the left side', f'{left["value"]:.2f}', _span(left['bootstrap'], '.2f')),
        ('ties', f'{summary["ties"]:.1%}', ''),
        ("agreement (Krippendorff's alpha)", 'not defined' if alpha is None else f'{alpha:.2f}', ''),
    ]
    return markdown.table(('measure', 'value', '95 % interval'), rows)


def _span(interval: Sequence[float], spec: str) -> str:
    return f'{interval[0]:{spec}} to {interval[1]:{spec}}'


def _resampled(names: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield for each sample the number of draws of each answer's name, (N,)."""
    unique, inverse = np.unique(names, return_inverse=True)
    for _ in range(draws):
        yield rng.multinomial(len(unique), np.full(len(unique), 1 / len(unique)))[inverse]
