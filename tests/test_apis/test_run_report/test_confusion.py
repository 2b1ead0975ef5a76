"""Confusions of classes, counted."""

import pytest
import torch
from lfi.apis.run_report import confusion
from lfi.apis.run_report.confusion import measure_confusion
from lfi.apis.run_report.run_images import RunImages
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, PixelData
from mmpretrain.structures import DataSample

TRUTH, PREDICTED = (0, 0, 1, 2, 2), (0, 1, 1, 0, 0)


class Predictor(BaseModel):
    """A model that knows the predictions of all images."""

    def forward(self, inputs, data_samples, mode):
        assert not self.training
        return [sample.set_pred_label(PREDICTED[sample.index]) for sample in data_samples]


def images(labels=TRUTH, batch_size=2):
    samples = [DataSample(metainfo=dict(index=i)) for i in range(len(labels))]
    for sample, label in zip(samples, labels):
        if label is not None:
            sample.set_gt_label(label)
    return RunImages(
        'validation', [dict(inputs=torch.zeros(1), data_samples=sample) for sample in samples], batch_size
    )


def test_a_classifier_is_counted():
    model = Predictor().train()
    found = measure_confusion(model, images())
    assert found.pairs == {(0, 0): 1, (0, 1): 1, (1, 1): 1, (2, 0): 2}
    assert found.num_images == 5 and found.num_right == 2 and model.training
    assert found.truths == {0: 2, 1: 1, 2: 2}
    assert found.mistakes() == [((2, 0), 2), ((0, 1), 1)]
    assert found.examples[0, 1] == 1 and found.examples[2, 0] in (3, 4)


def test_images_and_seconds_are_bounded(monkeypatch):
    monkeypatch.setattr(confusion, 'MAX_IMAGES', 3)
    assert measure_confusion(Predictor(), images()).pairs.total() == 3
    monkeypatch.setattr(confusion, 'MAX_SECONDS', -1)
    assert measure_confusion(Predictor(), images()).num_images == 2


@pytest.mark.parametrize('label', [None, -1, [0, 1]])
def test_images_without_one_label_are_refused(label):
    with pytest.raises(ValueError, match='an image has no label, or several'):
        measure_confusion(Predictor(), images([label]))


class Segmentor(BaseModel):
    def forward(self, inputs, data_samples, mode):
        for sample in data_samples:
            sample.pred_sem_seg = PixelData(data=torch.tensor([[[0, 1], [1, 1]]]))
        return data_samples


def test_a_segmentor_has_an_iou_of_each_class():
    sample = BaseDataElement(gt_sem_seg=PixelData(data=torch.tensor([[[0, 0], [1, 255]]])))
    data = RunImages('test', [dict(inputs=torch.zeros(1), data_samples=sample)], 1)
    found = measure_confusion(Segmentor(), data)
    assert found.pairs == {(0, 0): 1, (0, 1): 1, (1, 1): 1} and not found.examples
    assert found.iou() == {0: 0.5, 1: 0.5}
