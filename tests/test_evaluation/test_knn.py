"""Weighted nearest neighbours against a loop over all pairs."""

import math

import pytest
import torch
from lfi.evaluation import KNNMetric, knn


def slow_knn(references, labels, features, k, t):
    found = []
    for its in features.tolist():
        cosines = []
        for other, label in zip(references.tolist(), labels.tolist()):
            product = sum(a * b for a, b in zip(its, other))
            cosines.append((product / math.hypot(*its) / math.hypot(*other), label))
        votes = {}
        for cosine, label in sorted(cosines, reverse=True)[:k]:
            votes[label] = votes.get(label, 0) + math.exp(cosine / t)
        found.append(max(votes, key=votes.get))
    return found


@pytest.mark.parametrize('k', [1, 4, 100])
def test_it_votes_as_a_loop_does(k, monkeypatch):
    monkeypatch.setattr(knn, 'CHUNK', 7)
    torch.manual_seed(k)
    references, labels, features = torch.randn(40, 3), torch.randint(0, 5, (40,)), torch.randn(30, 3)
    found = KNNMetric(k=k, temperature=0.2).predict(references, labels, features)
    assert found.tolist() == slow_knn(references, labels, features, k, 0.2)


def test_a_near_neighbour_outweighs_many_far_ones():
    references = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    labels, features = torch.tensor([0, 1, 1, 1]), torch.tensor([[3.0, 1]])
    assert KNNMetric(k=4).predict(references, labels, features).tolist() == [0]
    assert KNNMetric(k=4, temperature=100).predict(references, labels, features).tolist() == [1]


@pytest.mark.parametrize('temperature', [0.07, 0.001])
def test_the_nearest_vote_never_vanishes(temperature):
    # Of the cosines -0.8 and -0.6, which differ from 1 by many temperatures.
    references = torch.tensor([[-0.8, 0.6], [-0.6, 0.8]])
    found = KNNMetric(k=2, temperature=temperature).predict(
        references, torch.tensor([0, 1]), torch.tensor([[1.0, 0.0]])
    )
    assert found.tolist() == [1]


@pytest.mark.parametrize(
    ('arguments', 'message'), [(dict(k=0), 'k=0'), (dict(temperature=0), 'temperature=0')]
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        KNNMetric(**arguments)
