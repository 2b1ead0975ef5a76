"""A classifier of one's own learns from interactions by its name."""

import pytest
import torch
from lfi.models import LFIClassifier, LFIImageClassifier
from lfi.registry import MODELS
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample


class Doubled(ImageClassifier):
    """Its task's losses count twice."""

    def loss(self, inputs, data_samples):
        return {name: 2 * value for name, value in super().loss(inputs, data_samples).items()}


def test_it_does_what_ours_does_before_its_own_class(make_classifier, monkeypatch):
    monkeypatch.setitem(MMPRETRAIN_MODELS._module_dict, 'Doubled', Doubled)
    head = dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=16)
    losses = []
    # The teacher's weights are drawn once.
    make_classifier('lfi.LFIImageClassifier', head, ['cat'], 0.1)
    for kind in (
        dict(kind='lfi.LFIImageClassifier'),
        dict(kind='lfi.LFIClassifier', task='mmpretrain.Doubled'),
    ):
        model = make_classifier(head=head, concepts=['cat', 'dog', 'car'], std=0.1, **kind)
        samples = [DataSample(metainfo=dict(img_shape=(32, 32))).set_gt_label(label) for label in (0, 2)]
        inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        losses.append(model.eval()(inputs, samples, mode='loss'))
    assert isinstance(model, Doubled) and isinstance(model, LFIImageClassifier)
    assert not isinstance(model, LFIClassifier) and type(model).__name__ == 'LFIDoubled'
    torch.testing.assert_close(losses[1]['loss_cls'], 2 * losses[0]['loss_cls'])
    torch.testing.assert_close(losses[1]['loss_positions'], losses[0]['loss_positions'])
    samples[0].set_metainfo(dict(unlabelled=True))
    with pytest.raises(ValueError, match='Doubled has a loss of its own'):
        model(inputs, samples, mode='loss')


def test_a_classifier_that_is_ours_is_refused():
    with pytest.raises(ValueError, match='has a LFIImageClassifier already'):
        MODELS.build(dict(type='lfi.LFIClassifier', task='lfi.LFITextClassifier'))
