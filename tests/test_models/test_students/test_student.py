"""`StudentMixin`: the prior beside any task's losses, by one forward pass."""

import pytest
import torch
from lfi.models.students.detectors import PriorMaskRCNN
from lfi.models.students.student import StudentMixin
from lfi.registry import MODELS
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)


@pytest.fixture
def make_classifier():
    init_default_scope('mmpretrain')

    def make(kind='lfi.PriorImageClassifier', backbone='lfi.InteractionQueryViT', **kwargs):
        torch.manual_seed(0)
        options = dict(num_queries=0, stem=dict(type='lfi.ConvStem')) if 'lfi' in backbone else {}
        return MODELS.build(
            dict(
                type=kind,
                backbone=dict(
                    type=backbone,
                    arch=ARCH,
                    img_size=32,
                    patch_size=8,
                    with_cls_token=False,
                    out_type='avg_featmap',
                    **options,
                ),
                head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=16),
                **kwargs,
            )
        )

    return make


@pytest.fixture
def batch():
    samples = [DataSample().set_gt_label(i) for i in range(3)]
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(32, 40)))
    return torch.randn(3, 3, 32, 40, generator=torch.Generator().manual_seed(0)), samples


def test_the_prior_joins_the_tasks_loss(make_classifier, batch):
    plain, model = make_classifier('ImageClassifier'), make_classifier(affinity_prior={})
    model.load_state_dict(plain.state_dict())
    expected, losses = plain.loss(*batch), model.loss(*batch)
    assert list(losses) == ['loss_cls', 'loss_affinity']
    assert torch.equal(losses['loss_cls'], expected['loss'])
    with model.backbone.record_interactions() as record:
        model.backbone(batch[0])
    prior = model.affinity_prior(record.states.locations())
    torch.testing.assert_close(losses['loss_affinity'], prior['loss_affinity'])
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_priors_arguments_reach_it(make_classifier, batch):
    losses = [
        make_classifier(affinity_prior=dict(loss_weight=weight)).loss(*batch)['loss_affinity']
        for weight in (1.0, 4.0)
    ]
    torch.testing.assert_close(4 * losses[0], losses[1])


def test_padding_has_no_affinity(make_classifier, batch):
    model = make_classifier(affinity_prior={})
    images, samples = batch
    samples[1].set_metainfo(dict(img_shape=(20, 40)))
    seen = []
    model.affinity_prior.register_forward_pre_hook(lambda _, args: seen.append(args))
    model.loss(images, samples)
    ((locations, valid),) = seen
    assert locations.shape == (3, 16, 4, 5)
    assert valid.sum((1, 2)).tolist() == [20, 15, 20]
    assert valid[1, 3].sum() == 0


def test_the_backbone_runs_once_whoever_records(make_classifier, batch):
    model = make_classifier(affinity_prior={})
    runs = []
    model.backbone.register_forward_hook(lambda *_: runs.append(1))
    with model.backbone.record_interactions() as record:
        losses = model.loss(*batch)
    assert len(runs) == 1
    torch.testing.assert_close(losses['loss_affinity'], model.prior_losses(record.states)['loss_affinity'])


@pytest.mark.parametrize('write_back', ['none', 'gated'])
def test_queries_that_nothing_reads_are_frozen(make_classifier, write_back):
    model = make_classifier(affinity_prior={})
    kind = type(model.backbone)
    arguments = dict(arch=ARCH, img_size=32, patch_size=8, num_queries=2, write_back=write_back)
    model = MODELS.build(
        dict(
            type='lfi.PriorImageClassifier',
            backbone=dict(type=kind, **arguments),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=16),
        )
    )
    assert model.backbone.interaction_queries.requires_grad is (write_back != 'none')


def test_detectors_have_it_too():
    assert issubclass(PriorMaskRCNN, StudentMixin)
    assert MODELS.get('lfi.PriorMaskRCNN') is PriorMaskRCNN


@pytest.mark.parametrize(
    ('options', 'learnt'),
    [
        (dict(), False),
        (dict(affinity_prior={}), True),
        (dict(distill=dict(type='lfi.LogitKDLoss')), False),
        (dict(distill=dict(type='lfi.AttentionTransferLoss')), True),
    ],
)
def test_an_adapters_locations_are_learnt_where_something_reads_them(options, learnt):
    init_default_scope('mmpretrain')
    distill = options.pop('distill', None)
    if distill is not None:
        teacher = dict(type='lfi.VLMAttentionTeacher', model='shapes-tiny', concepts=['a', 'b'])
        options.update(type='lfi.FeatureDistillClassifier', distill_loss=distill, teacher=teacher)
    model = MODELS.build(
        dict(
            type='lfi.PriorImageClassifier',
            backbone=dict(
                type='lfi.InteractionQueryAdapter',
                backbone=dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8),
                query_dims=16,
                num_heads=2,
            ),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=64),
        )
        | options
    )
    layers = model.backbone.interaction.layers
    assert {p.requires_grad for layer in layers for p in layer.project_map.parameters()} == {learnt}
