"""Class activation maps of a head tell where its scores come from."""

import pytest
import torch
from lfi.models.students.classifiers import class_activation_maps
from lfi.registry import MODELS
from mmpretrain.structures import DataSample

K = 3
BACKBONE = dict(with_cls_token=False, out_type='avg_featmap')
RESNET = dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8)
ADAPTER = dict(type='lfi.InteractionQueryAdapter', backbone=RESNET, query_dims=16)
HEAD = dict(type='mmpretrain.VisionTransformerClsHead', num_classes=K, in_channels=16)


@pytest.fixture
def make_model(make_classifier):
    def make(kind, backbone=BACKBONE, head=HEAD, **changes):
        concepts = ['circle', 'square', 'star']
        return make_classifier(kind, head, concepts, std=0.3, backbone=backbone, **changes).eval()

    return make


@pytest.fixture
def make_measured(make_model):
    def make(**changes):
        return make_model('lfi.ClassActivationClassifier', readout=dict(text_dims=24), **changes)

    return make


def batch():
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return inputs, [DataSample(metainfo=dict(img_shape=(32, 32))).set_gt_label(0) for _ in range(2)]


@torch.no_grad()
@pytest.mark.parametrize('final_norm', [True, False])
def test_they_add_up_to_the_scores_of_the_head(make_measured, final_norm):
    model = make_measured(backbone=dict(BACKBONE, final_norm=final_norm))
    inputs, _ = batch()
    with model.backbone.record_interactions() as record:
        scores = model.head(model.backbone(inputs))
    maps = class_activation_maps(model.backbone, model.head, record.states)
    assert maps.shape == (2, K, 4, 4)
    layer = model.head.layers.head
    constant = layer(model.backbone.ln2.bias)
    torch.testing.assert_close(maps.mean((-2, -1)) + constant, scores, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_baselines_student_is_measured_beside_the_teacher(make_model, make_measured):
    baseline = make_model('lfi.FeatureDistillClassifier', distill_loss=dict(type='lfi.LogitKDLoss'))
    model = make_measured()
    missing = model.load_state_dict(baseline.state_dict(), strict=False).missing_keys
    assert {name.split('.')[0] for name in missing} == {'readout'}
    inputs, samples = batch()
    texts = model.teacher.texts
    asked = [3, 2, 0]
    found = model.ask(inputs, texts[asked])
    with model.backbone.record_interactions() as record:
        scores = model.head(model.backbone(inputs))
    maps = class_activation_maps(model.backbone, model.head, record.states)
    assert (found.layers, found.directions, found.valid.all().item()) == ((3,), ('positions',), True)
    torch.testing.assert_close(found.logits[:, 0, 1:], maps[:, asked[1:]])
    torch.testing.assert_close(found.presence[:, 1:], scores.softmax(1)[:, asked[1:]])
    # What the head does not know.
    assert not found.logits[:, 0, 0].any() and not found.presence[:, 0].any()
    with pytest.raises(ValueError, match="knows its head's classes alone"):
        model.ask(inputs, -texts)
    predicted = torch.stack([sample.pred_score for sample in model.predict(inputs, samples)])
    torch.testing.assert_close(predicted, scores.softmax(1))


@pytest.mark.parametrize(
    'changes',
    [
        dict(backbone=dict(BACKBONE, out_type='featmap')),
        dict(backbone=dict(BACKBONE, interaction_layers=(1, 2))),
        dict(
            head=dict(type='mmpretrain.VisionTransformerClsHead', num_classes=K, in_channels=16, hidden_dim=8)
        ),
    ],
)
def test_what_has_none_is_refused(make_measured, changes):
    model = make_measured(**changes)
    with model.backbone.record_interactions() as record:
        model.backbone(batch()[0])
    with pytest.raises(ValueError, match="class activation maps need a backbone with out_type='avg_featmap'"):
        class_activation_maps(model.backbone, model.head, record.states)


def test_an_adapter_is_refused(make_measured):
    backbone = MODELS.build(ADAPTER)
    with backbone.record_interactions() as record:
        backbone(batch()[0])
    message = r"out_type='avg_featmap', got None; the last block among interaction_layers, got \(0,\)"
    with pytest.raises(ValueError, match=message):
        class_activation_maps(backbone, make_measured().head, record.states)


def test_it_neither_trains_nor_draws(make_measured):
    with pytest.raises(TypeError, match='draws no pictures'):
        make_measured().predict_interactions(*batch())
    with pytest.raises(TypeError, match='ClassActivationClassifier is for testing only'):
        make_measured().loss(*batch())
