"""`presence_quality` against counts by hand and against another way to count."""

import pytest
import torch
from lfi.evaluation import average_precision, presence_quality


def slow_average_precision(scores, hits):
    """The mean over hits of the precision among all that score at least as much."""
    precisions = []
    for score, hit in zip(scores, hits):
        if hit:
            found = [other for value, other in zip(scores, hits) if value >= score]
            precisions.append(sum(found) / len(found))
    return sum(precisions) / len(precisions)


def test_counts_by_hand():
    presence = torch.tensor([0.9, 0.5, 0.4, 0.6, 0.0])
    visible = torch.tensor([True, True, True, False, False])
    quality = presence_quality(presence, visible)
    assert quality['precision'] == pytest.approx(2 / 3)
    assert quality['recall'] == pytest.approx(2 / 3)
    assert quality['average_precision'] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert quality['brier'] == pytest.approx((0.01 + 0.25 + 0.36 + 0.36 + 0) / 5)


@pytest.mark.parametrize('levels', [3, 1000])
def test_average_precision_finds_equal_scores_together(levels):
    generator = torch.Generator().manual_seed(levels)
    scores = torch.randint(levels, (4, 60), generator=generator) / levels
    hits = torch.rand(4, 60, generator=generator) < 0.3
    expected = [slow_average_precision(s.tolist(), h.tolist()) for s, h in zip(scores, hits)]
    assert average_precision(scores, hits).tolist() == pytest.approx(expected, rel=1e-5)


def test_presence_that_says_nothing():
    visible = torch.tensor([True, False, False, False])
    quality = presence_quality(torch.full((4,), 0.25), visible)
    assert quality['precision'] is None and quality['recall'] == 0
    assert quality['average_precision'] == 0.25
    with pytest.raises(ValueError, match='no image shows any'):
        presence_quality(torch.ones(4), torch.zeros(4, dtype=torch.bool))
