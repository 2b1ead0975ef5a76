"""Logistic regression against another minimiser of the same objective."""

import numpy as np
import pytest
import torch
from lfi.evaluation import LinearProbeMetric
from lfi.evaluation.linear_probe import logistic_regression
from scipy.optimize import minimize
from scipy.special import log_softmax


def data(n=60, channels=4, classes=3):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    features = rng.normal(size=(n, channels)) + rng.normal(size=(classes, channels))[labels]
    return torch.tensor(features, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize('l2', [0.1, 1.0, 10.0])
def test_it_finds_the_minimum(l2):
    features, labels = data()
    x, y = features.double().numpy(), labels.numpy()

    def objective(values):
        weight, bias = values[:12].reshape(3, 4), values[12:]
        log_p = log_softmax(x @ weight.T + bias, axis=1)
        return -log_p[np.arange(len(y)), y].sum() + l2 / 2 * (weight**2).sum()

    # Without gradients of ours.
    theirs = minimize(objective, np.zeros(15), tol=1e-10).x
    weight, bias = logistic_regression(features, labels, l2, 200)
    assert np.allclose(weight.numpy(), theirs[:12].reshape(3, 4), atol=2e-3)
    # Biases are free up to a constant.
    assert np.allclose((bias - bias.mean()).numpy(), theirs[12:] - theirs[12:].mean(), atol=2e-3)


def test_units_and_constants_do_not_matter():
    features, labels = data()
    other = torch.cat((features * torch.tensor([1e-3, 1, 50, 1]) + 7, torch.full((60, 1), 3.0)), 1)
    metric = LinearProbeMetric()
    with torch.no_grad():
        found = metric.predict(features[:40], labels[:40], features[40:])
        assert found.equal(metric.predict(other[:40], labels[:40], other[40:]))
    assert (found == labels[40:]).float().mean() > 0.6


@pytest.mark.parametrize(('arguments', 'message'), [(dict(l2=-1), 'l2=-1'), (dict(max_iter=0), 'max_iter=0')])
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearProbeMetric(**arguments)
