"""References among images, and what a metric of features refuses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lfi.evaluation import FeatureMetric, KNNMetric, LinearProbeMetric, frozen_features
from lfi.evaluation.frozen_features import logistic_regression, reference_mask
from mmpretrain.structures import DataSample
from scipy.optimize import minimize
from scipy.special import log_softmax


class FirstChannel(FeatureMetric):
    """An image's label is its first channel, whatever the references say."""

    def predict(self, references, labels, features):
        self.given = references, labels
        return features[:, 0].long()


def evaluate(metric, features, labels, batch_size=3):
    for i in range(0, len(labels), batch_size):
        batch = []
        for its, label in zip(features[i : i + batch_size], labels[i : i + batch_size]):
            sample = DataSample().set_gt_label(label)
            sample.features = its
            batch.append(sample.to_dict())
        metric.process(None, batch)
    return metric.evaluate(len(labels))


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_every_other_image_of_each_class_is_a_reference(labels):
    slow, seen = [], {}
    for label in labels:
        slow.append(seen.get(label, 0) % 2 == 0)
        seen[label] = seen.get(label, 0) + 1
    if all(slow):
        with pytest.raises(ValueError, match='references=None of .* images leaves no image'):
            reference_mask(torch.tensor(labels), None)
    else:
        assert reference_mask(torch.tensor(labels), None).tolist() == slow


def test_the_first_images_can_be_the_references():
    assert reference_mask(torch.zeros(5), 2).tolist() == [True, True, False, False, False]
    for references in (0, 5, -1):
        with pytest.raises(ValueError, match=f'references={references} of 5 images'):
            reference_mask(torch.zeros(5), references)


def test_only_the_others_are_counted():
    metric = FirstChannel(references=3)
    # Two of four predictions are right.
    features = torch.tensor([[9.0], [9], [9], [0], [1], [2], [3]])
    assert evaluate(metric, features, [0, 1, 2, 0, 1, 0, 0]) == {'top1': 50.0}
    references, labels = metric.given
    assert references.flatten().tolist() == [9, 9, 9] and labels.tolist() == [0, 1, 2]


def test_features_that_are_no_numbers_are_refused():
    features = torch.tensor([[0.0, 1], [float('nan'), 1], [float('inf'), 1], [2, 1]])
    with pytest.raises(ValueError, match='FirstChannel: the features of 2 of 4 images are not finite'):
        evaluate(FirstChannel(references=1), features, [0, 0, 1, 1])


def test_samples_without_features_or_labels_are_refused():
    sample = DataSample(metainfo=dict(img_path='x.png')).set_gt_label(-1)
    with pytest.raises(
        ValueError, match=r'FirstChannel: the samples have no features: set .*lfi\.ByFeatures'
    ):
        FirstChannel().process(None, [sample.to_dict()])
    sample.features = torch.zeros(2)
    with pytest.raises(ValueError, match=r'x\.png has no label: val_dataloader'):
        FirstChannel().process(None, [sample.to_dict()])


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
def test_neighbours_vote_as_in_a_loop(k, monkeypatch):
    monkeypatch.setattr(frozen_features, 'CHUNK', 7)
    torch.manual_seed(k)
    references, labels, features = torch.randn(40, 3), torch.randint(0, 5, (40,)), torch.randn(30, 3)
    found = KNNMetric(k=k).predict(references, labels, features)
    assert found.tolist() == slow_knn(references, labels, features, k, 0.07)


def test_a_near_neighbour_outweighs_many_far_ones():
    references = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    labels, features = torch.tensor([0, 1, 1, 1]), torch.tensor([[3.0, 1]])
    assert KNNMetric(k=4).predict(references, labels, features).tolist() == [0]


def test_the_nearest_vote_never_vanishes(monkeypatch):
    monkeypatch.setattr(frozen_features, 'TEMPERATURE', 0.001)
    # Of the cosines -0.8 and -0.6, which differ from 1 by many temperatures.
    references = torch.tensor([[-0.8, 0.6], [-0.6, 0.8]])
    found = KNNMetric(k=2).predict(references, torch.tensor([0, 1]), torch.tensor([[1.0, 0.0]]))
    assert found.tolist() == [1]


def test_no_neighbour_is_refused():
    with pytest.raises(ValueError, match='k=0'):
        KNNMetric(k=0)


def data(n=60, channels=4, classes=3):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    features = rng.normal(size=(n, channels)) + rng.normal(size=(classes, channels))[labels]
    return torch.tensor(features, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize('l2', [0.1, 1.0, 10.0])
def test_the_linear_probe_finds_the_minimum(l2):
    features, labels = data()
    x, y = features.double().numpy(), labels.numpy()

    def objective(values):
        weight, bias = values[:12].reshape(3, 4), values[12:]
        log_p = log_softmax(x @ weight.T + bias, axis=1)
        return -log_p[np.arange(len(y)), y].sum() + l2 / 2 * (weight**2).sum()

    # Without gradients of ours.
    theirs = minimize(objective, np.zeros(15), tol=1e-10).x
    weight, bias = logistic_regression(features, labels, l2)
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
