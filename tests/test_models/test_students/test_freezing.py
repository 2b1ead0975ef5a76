"""What a step trains: every trainable parameter has a gradient, for DDP searches for no others."""

from itertools import combinations

import pytest
import torch
from lfi.registry import MODELS
from small_students import (
    ADAPTER,
    BACKBONE,
    HEAD,
    OF_MAPS,
    PARTS,
    TERMS,
    batch,
    interactions,
    losses_of,
    parts,
    raw_batch,
)

LOSSES = ('spatial', 'semantic', 'presence')
SUBSETS = [set(off) for n in range(3) for off in combinations(LOSSES, n)]
PAIRS = [*[(name,) for name in PARTS], *combinations(PARTS, 2), tuple(PARTS)]
CONVNEXT = dict(
    ADAPTER,
    backbone=dict(
        type='mmpretrain.ConvNeXt',
        arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16]),
        out_indices=(0, 1, 2, 3),
        gap_before_final_norm=False,
    ),
    reads=(1, 3),
)


def off_by(names):
    return interactions(**{f'{name}_weight': 0 for name in names})


def step(model, losses):
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ('backbone', 'off'),
    [
        *((dict(write_back='none', num_queries=8), off) for off in SUBSETS),
        (dict(write_back='gated', num_queries=8), set()),
        (dict(num_queries=0), set()),
        (dict(num_queries=8, persistent=False), set()),
        (dict(num_queries=8, with_cp=True), {'semantic', 'presence'}),
    ],
)
def test_what_no_loss_of_interactions_reads_is_frozen(make_classifier, unlearnt, backbone, off):
    model = make_classifier(backbone=backbone, supervision=off_by(off), teacher=dict(max_concepts=3))
    step(model, model.loss(*batch()))
    assert not unlearnt(model)
    frozen = {name.split('.')[1] for name, p in model.named_parameters() if not p.requires_grad}
    expected = set()
    if {'semantic', 'presence'} <= off:
        expected |= {'patch_norm', 'patch_head'}
    if 'presence' in off:
        expected |= {'presence_norm', 'presence_head'}
    if {'spatial', 'presence'} <= off:
        expected.add('question_head')
    if backbone.get('write_back') == 'none':
        # Neither patches nor features read the learned queries.
        expected.add('interaction_queries')
    assert frozen == expected


@pytest.mark.parametrize(('off', 'num_queries'), [*((off, 0) for off in SUBSETS), (set(), 2)])
def test_so_it_is_of_an_adapter(make_classifier, unlearnt, off, num_queries):
    backbone = dict(ADAPTER, num_queries=num_queries, reads=('layer3', 'layer4'))
    model = make_classifier(backbone=backbone, **OF_MAPS, supervision=off_by(off))
    step(model, model.loss(*batch()))
    assert not unlearnt(model)
    if not off:
        assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('names', PAIRS, ids='-'.join)
@pytest.mark.parametrize('hidden', [(), (0, 1, 2)], ids=['labels', 'none'])
def test_any_parts_train_a_classifier(make_classifier, unlearnt, names, hidden):
    model = make_classifier(supervision=parts(*names))
    losses = model.loss(*batch(hidden=hidden))
    assert losses.keys() == {'loss_cls'}.union(*(TERMS[name] for name in names))
    assert (losses['loss_cls'].item() == 0) is bool(hidden)
    step(model, losses)
    assert not unlearnt(model)
    assert model.backbone.patch_embed.projection.weight.grad.any()


@pytest.mark.parametrize('names', PAIRS, ids='-'.join)
def test_any_parts_train_an_adapted_classifier(make_classifier, unlearnt, names):
    model = make_classifier(backbone=ADAPTER, **OF_MAPS, supervision=parts(*names))
    step(model, model.loss(*batch()))
    assert not unlearnt(model)


@pytest.mark.parametrize('logit_kd', [None, dict(loss_weight=2.0)])
@pytest.mark.parametrize('control', [None, dict(type='lfi.OtherImage'), dict(type='lfi.MeanTarget')])
def test_what_predicts_by_texts_is_trained_by_them(make_classifier, unlearnt, control, logit_kd):
    taught = parts('interactions', **({} if logit_kd is None else dict(logit_kd=logit_kd)))
    model = make_classifier(predict_by=dict(type='lfi.ByTexts'), control=control, supervision=taught)
    losses = model.loss(*batch(hidden=(0, 1, 2)))
    assert losses['loss_cls'].item() == 0
    step(model, losses)
    assert not unlearnt(model)
    assert not any(p.grad.any() for p in model.head.parameters())
    assert model.readout.question_head.weight.grad.any()


@pytest.mark.parametrize('write_back', ['none', 'gated'])
def test_queries_that_nothing_reads_are_frozen(write_back):
    backbone = dict(BACKBONE, num_queries=2, write_back=write_back)
    model = MODELS.build(
        dict(type='lfi.Student', task='mmpretrain.ImageClassifier', backbone=backbone, head=HEAD)
    )
    assert model.backbone.interaction_queries.requires_grad is (write_back != 'none')


# ---- A backbone alone, whose own outputs no loss need read -------------------------------------------------

LEARNABLE = [names for names in PAIRS if 'logit_kd' not in names]


@pytest.mark.parametrize(
    'backbone',
    [
        dict(),
        dict(out_type='avg_featmap'),
        dict(out_type='avg_featmap', final_norm=False, with_cls_token=False),
        dict(out_indices=(1, 3), out_type='featmap'),
    ],
    ids=['cls', 'mean', 'no norm', 'stages'],
)
@pytest.mark.parametrize('names', LEARNABLE, ids='-'.join)
def test_any_parts_train_a_backbone_alone(make_pretrainer, unlearnt, backbone, names):
    model = make_pretrainer(backbone=backbone, supervision=parts(*names))
    losses = losses_of(model, raw_batch(labels=None))
    assert losses.keys() == set().union(*(TERMS[name] for name in names))
    total, _ = model.parse_losses(losses)
    assert total > 0 and total.item() == pytest.approx(sum(loss.item() for loss in losses.values()))
    total.backward()
    assert not unlearnt(model)
    assert model.backbone.patch_embed.projection.weight.grad.any()


@pytest.mark.parametrize('num_queries', [0, 2])
@pytest.mark.parametrize('names', [('interactions',), ('prior',), ('affinity', 'interactions')], ids='-'.join)
def test_outputs_that_nothing_reads_have_gradients_too(make_pretrainer, unlearnt, names, num_queries):
    model = make_pretrainer(backbone=dict(CONVNEXT, num_queries=num_queries), supervision=parts(*names))
    total, _ = model.parse_losses(losses_of(model, raw_batch(labels=None)))
    total.backward()
    assert not unlearnt(model)


def test_what_is_frozen_by_hand_stays_so(make_classifier, unlearnt):
    model = make_classifier(backbone=dict(frozen_stages=2), supervision=parts(*PARTS))
    step(model, model.loss(*batch()))
    assert not unlearnt(model)
    assert not any(p.requires_grad for p in model.backbone.layers[0].parameters())
    assert torch.is_tensor(model.backbone.layers[3].attn.qkv.weight.grad)
