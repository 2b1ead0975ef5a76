"""Class activation maps of a head tell where its scores come from."""

import pytest
import torch
from lfi.models import class_activation_maps
from lfi.registry import MODELS
from small_students import ADAPTER, batch, interactions, parts

K = 4
BACKBONE = dict(with_cls_token=False, out_type='avg_featmap')
HEAD = dict(type='mmpretrain.VisionTransformerClsHead', num_classes=K, in_channels=16)


@pytest.fixture
def make_model(make_classifier):
    def make(**changes):
        arguments = dict(std=0.3, backbone=BACKBONE, head=HEAD, supervision=parts('logit_kd'))
        return make_classifier(**{**arguments, **changes}).eval()

    return make


@pytest.fixture
def make_measured(make_model):
    def make(**changes):
        predict_by = dict(type='lfi.ByClassActivation')
        return make_model(supervision=None, readout={}, predict_by=predict_by, **changes)

    return make


@torch.no_grad()
@pytest.mark.parametrize('final_norm', [True, False])
def test_they_add_up_to_the_scores_of_the_head(make_measured, final_norm):
    model = make_measured(backbone=dict(BACKBONE, final_norm=final_norm))
    inputs, _ = batch()
    with model.backbone.record_interactions() as record:
        scores = model.head(model.backbone(inputs))
    maps = class_activation_maps(model.backbone, model.head, record.states)
    assert maps.shape == (3, K, 4, 4)
    layer = model.head.layers.head
    constant = layer(model.backbone.ln2.bias)
    torch.testing.assert_close(maps.mean((-2, -1)) + constant, scores, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_baselines_student_is_measured_beside_the_teacher(make_model, make_measured):
    baseline = make_model()
    model = make_measured()
    missing = model.load_state_dict(baseline.state_dict(), strict=False).missing_keys
    assert {name.split('.')[0] for name in missing} == {'readout'}
    inputs, samples = batch()
    texts = model.teacher.text_embeddings
    asked = [5, 2, 0]
    found = model.ask(inputs, texts[asked])
    with model.backbone.record_interactions() as record:
        scores = model.head(model.backbone(inputs))
    maps = class_activation_maps(model.backbone, model.head, record.states)
    assert (found.layers, found.directions, found.valid.all().item()) == ((3,), ('spatial',), True)
    torch.testing.assert_close(found.logits[:, 0, 1:], maps[:, asked[1:]])
    torch.testing.assert_close(found.presence[:, 1:], scores.softmax(1)[:, asked[1:]])
    # What the head does not know.
    assert not found.logits[:, 0, 0].any() and not found.presence[:, 0].any()
    with pytest.raises(ValueError, match='answers only texts that are concepts of the teacher'):
        model.ask(inputs, -texts)
    predicted = torch.stack([sample.pred_score for sample in model.predict(inputs, samples)])
    torch.testing.assert_close(predicted, scores.softmax(1))


@torch.no_grad()
def test_presence_of_a_multi_label_head_is_the_sigmoid_of_its_scores(make_measured):
    model = make_measured(head=dict(type='mmpretrain.MultiLabelLinearClsHead', num_classes=K, in_channels=16))
    inputs, _ = batch()
    found = model.ask(inputs, model.teacher.text_embeddings[[3, 5, 1]])
    scores = model.head.fc(model.backbone(inputs)[-1])
    expected = torch.stack([scores[:, 3].sigmoid(), torch.zeros(3), scores[:, 1].sigmoid()], 1)
    torch.testing.assert_close(found.presence, expected)


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


@torch.no_grad()
def test_its_pictures_show_where_the_heads_evidence_lies(make_model):
    """Those of a student that was taught interactions, too, whose read-out is not asked then."""
    predict_by = dict(type='lfi.ByClassActivation')
    model = make_model(supervision=interactions(), predict_by=predict_by)
    inputs, samples = batch()
    teacher, student = model.predict_interactions(inputs, samples)
    assert student.logits.shape[2] == teacher.logits.shape[2] == len(model.teacher.text_embeddings)
    assert torch.equal(student.logits, model.ask(inputs, model.teacher.text_embeddings).logits)


def test_it_does_not_train(make_classifier):
    message = 'predict_by=ByClassActivation is for testing only: train with predict_by=None'
    with pytest.raises(ValueError, match=message):
        make_classifier(backbone=BACKBONE, head=HEAD, predict_by=dict(type='lfi.ByClassActivation'))
