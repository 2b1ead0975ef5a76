"""Which of two sources people prefer, by how much, and with which uncertainty."""

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
        scores: (N,) 1 where A was preferred, 0.5 for a tie, 0 for B.
        a_on_left: (N,) bool, whether A was shown on the left.
        raters: (N,) names of the raters.
        images: (N,) names of the images that were shown.
        pairs: (N,) names of the pairs; several may show one image.

    Raises:
        ValueError: If the lengths differ or are 0, or a score is none of the three.
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
                raise ValueError(f'{name} has {length} values: all must have the same number, at least 1')
        if not np.isin(self.scores, (0, 0.5, 1)).all():
            raise ValueError(f'scores must be 0, 0.5 or 1, got {sorted(set(self.scores.tolist()))}')


def win_rate(scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """How often A wins, a tie counted half: the mean of the scores (N,), with weights (N,) if given."""
    return float(np.average(scores, weights=weights))


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson, 1927), as if the n answers were independent.

    Ties, which count half, vary less than the formula assumes, so that with them it is a little wide.
    """
    z = norm.ppf((1 + LEVEL) / 2)
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return float(max(0, centre - reach)), float(min(1, centre + reach))


def bradley_terry(
    scores: np.ndarray, a_on_left: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Odds that A is preferred to B, and the left side to the right, among answers that prefer one.

    The model of Bradley and Terry (1952) with ties (Davidson, 1970) and an order effect (Davidson and Beaver,
    1977), given that there is a preference: A is preferred with odds `a * left` when it is on the left, and
    with odds `a / left` when it is on the right. For two sources both are the square roots of a product and
    of a ratio of the odds in the two orders. Half an answer is added to each count (Firth, 1993), which keeps
    the odds finite when all agree.

    Args:
        scores: (N,) 1 where A was preferred, 0.5 for a tie, 0 for B.
        a_on_left: (N,) bool.
        weights: (N,) weight of each answer. Defaults to None: 1 each.

    Returns:
        `a` and `left`; 1 is no preference.
    """
    weights = np.ones(len(scores)) if weights is None else weights

    def odds(on_left: bool) -> float:
        wins, losses = (weights[(scores == won) & (a_on_left == on_left)].sum() + 0.5 for won in (1, 0))
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
    """The 95 % percentile interval of a statistic when raters and images are resampled.

    Answers of one rater, and answers about one image, are correlated. So both are resampled, each with
    replacement, and the weight of an answer is that of its rater times that of its image (the pigeonhole
    bootstrap; Owen, Annals of Applied Statistics 2007, which shows it to be conservative).

    Args:
        statistic: A function of weights (N,) that returns one number or S.
        raters: (N,) who answered; of a single rater only the images are resampled.
        images: (N,) names of the images.
        draws: How many samples. Defaults to 2000.
        seed: Seed of the draws. Defaults to 0.

    Returns:
        (2,) or (2, S): the lower and the upper ends. Samples without any answer are left out.
    """
    rng = np.random.default_rng(seed)
    samples = zip(_resampled(raters, draws, rng), _resampled(images, draws, rng))
    values = [statistic(by_rater * by_image) for by_rater, by_image in samples if by_rater @ by_image]
    return np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)


def krippendorff_alpha(values: np.ndarray, units: np.ndarray) -> float | None:
    """Agreement of the raters beyond chance: 1 is perfect, 0 is chance.

    Krippendorff's alpha for interval data: a tie differs from either preference by half of their difference.
    Units of one value are left out, so not every rater needs to rate every unit.

    Args:
        values: (N,) numbers.
        units: (N,) the unit of each value; a rater rates a unit once.

    Returns:
        Alpha, or None where it is not defined: no unit has two values, or all values of such units are the
            same.
    """
    (_, found), counts = crosstab(units, values)
    counts = counts[counts.sum(1) > 1]
    if np.count_nonzero(counts.sum(0)) < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, value_domain=found, level_of_measurement='interval'))


def summarize(found: Preferences) -> dict:
    """All of this module's measures of a study.

    Args:
        found: The answers.

    Returns:
        Counts of `answers`, `raters` and `images`; `win_rate`, `odds` of A and `left_odds`, each with its
        `value` and `bootstrap` interval, and for the win rate `wilson`'s; the share of `ties`; and
        `agreement`, None where it is not defined.
    """

    def statistic(weights: np.ndarray) -> tuple[float, float, float]:
        return win_rate(found.scores, weights), *bradley_terry(found.scores, found.a_on_left, weights)

    n = len(found.scores)
    low, high = bootstrap_interval(statistic, found.raters, found.images)
    summary: dict[str, Any] = {
        name: dict(value=value, bootstrap=[float(low[i]), float(high[i])])
        for i, (name, value) in enumerate(zip(('win_rate', 'odds', 'left_odds'), statistic(np.ones(n))))
    }
    summary['win_rate']['wilson'] = list(wilson_interval(summary['win_rate']['value'], n))
    return dict(
        answers=n,
        raters=len(np.unique(found.raters)),
        images=len(np.unique(found.images)),
        **summary,
        ties=float(np.mean(found.scores == 0.5)),
        agreement=krippendorff_alpha(found.scores, found.pairs),
    )


def preference_table(summary: dict) -> str:
    """The return value of `summarize` as a Markdown table."""
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


def _span(interval: Sequence[float], form: str) -> str:
    return f'{interval[0]:{form}} to {interval[1]:{form}}'


def _resampled(names: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """For each of the samples how often each of the N names was drawn, (N,)."""
    found, which = np.unique(names, return_inverse=True)
    for _ in range(draws):
        yield rng.multinomial(len(found), np.full(len(found), 1 / len(found)))[which]
