"""Which images are known, and what a metric of features refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lfi.evaluation import FeatureMetric
from lfi.evaluation.feature_metric import known_rows
from mmpretrain.structures import DataSample


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
def test_every_other_image_of_each_class_is_known(labels):
    slow, seen = [], {}
    for label in labels:
        slow.append(seen.get(label, 0) % 2 == 0)
        seen[label] = seen.get(label, 0) + 1
    if all(slow):
        with pytest.raises(ValueError, match='references=None of .* images leaves no image'):
            known_rows(torch.tensor(labels), None)
    else:
        assert known_rows(torch.tensor(labels), None).tolist() == slow


def test_the_first_images_can_be_the_known_ones():
    assert known_rows(torch.zeros(5), 2).tolist() == [True, True, False, False, False]
    for references in (0, 5, -1):
        with pytest.raises(ValueError, match=f'references={references} of 5 images'):
            known_rows(torch.zeros(5), references)


def test_only_the_others_are_counted():
    metric = FirstChannel(references=3)
    # Two of four that are not known are right.
    features = torch.tensor([[9.0], [9], [9], [0], [1], [2], [3]])
    assert evaluate(metric, features, [0, 1, 2, 0, 1, 0, 0]) == {'top1': 50.0}
    references, labels = metric.given
    assert references.flatten().tolist() == [9, 9, 9] and labels.tolist() == [0, 1, 2]


def test_features_that_are_no_numbers_are_refused():
    features = torch.tensor([[0.0, 1], [float('nan'), 1], [float('inf'), 1], [2, 1]])
    with pytest.raises(ValueError, match='FirstChannel: the features of 2 of 4 images are not numbers'):
        evaluate(FirstChannel(references=1), features, [0, 0, 1, 1])


def test_samples_without_features_or_labels_are_refused():
    sample = DataSample(metainfo=dict(img_path='x.png')).set_gt_label(-1)
    with pytest.raises(ValueError, match=r'FirstChannel: the samples have no features; lfi\.LFIPretrainer'):
        FirstChannel().process(None, [sample.to_dict()])
    sample.features = torch.zeros(2)
    with pytest.raises(ValueError, match=r'x\.png has no label: val_dataloader'):
        FirstChannel().process(None, [sample.to_dict()])
