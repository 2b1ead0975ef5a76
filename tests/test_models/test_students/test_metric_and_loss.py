"""What the semantic consistency metric measures is what the loss compares."""

import numpy as np
import pytest
import torch
from lfi.evaluation import SemanticConsistencyMetric
from lfi.evaluation.interaction_maps_hook import add_interactions
from mmpretrain.structures import DataSample
from small_students import NAMES, interactions

LABELS = (0, 3, 1)


def batch():
    """Images of one object each, with the region of their label and of what no label names."""
    generator = torch.Generator().manual_seed(0)
    region = np.pad(np.ones((16, 16), bool), ((0, 16), (16, 0)))
    samples = [DataSample(metainfo=dict(img_shape=(32, 32))).set_gt_label(label) for label in LABELS]
    for sample in samples:
        sample.set_field({int(sample.gt_label): region, 5: region}, 'regions')
    inputs = torch.randint(0, 256, (len(LABELS), 3, 32, 32), dtype=torch.uint8, generator=generator)
    return dict(inputs=list(inputs), data_samples=samples)


@pytest.mark.parametrize('background', [(), ('sky', 'grass')])
@pytest.mark.parametrize('max_concepts', [None, 2, 6])
def test_the_divergence_from_the_teacher_is_the_loss(make_classifier, max_concepts, background):
    model = make_classifier(
        backbone=dict(interaction_layers=(3,)),
        teacher=dict(max_concepts=max_concepts, background=background),
        supervision=interactions(dict(presence='label'), semantic_weight=0, presence_weight=0),
    ).eval()
    # Each concept's scores spread otherwise.
    maps_of_bank = model.teacher.maps_of_bank
    spreads = torch.linspace(0.3, 9, len(NAMES) + len(background)).flip(0)[:, None, None]

    def spread(*args):
        maps = maps_of_bank(*args)
        return type(maps)(**{**vars(maps), 'logits': maps.logits * spreads})

    model.teacher.maps_of_bank = spread
    data = batch()
    add_interactions(model, data)
    metric = SemanticConsistencyMetric()
    metric.process(None, [dict(sample.items()) for sample in data['data_samples']])
    measured = [
        image.rows[sample.interactions.concepts.index(label)]['teacher_kl']
        for image, sample, label in zip(metric.results, data['data_samples'], LABELS)
    ]
    # Labels alone are present, and each has the same weight.
    losses = model(**model.data_preprocessor(batch(), training=True), mode='loss')
    assert np.mean(measured) == pytest.approx(losses['loss_spatial'].item(), rel=1e-4)
