"""A backbone learns a teacher's features without labels, as a classifier beside its task does."""

import pytest
import torch
from lfi.export import export_student
from lfi.registry import MODELS
from mmpretrain.models.classifiers import ImageClassifier
from unlabelled_batches import BACKBONE, PREPROCESSOR, batch, losses_of

WIDTHS = dict(student_dims=16, teacher_dims=24)
LOSSES = {
    'lfi.DenseFeaturesLoss': (WIDTHS, {'loss_cosine', 'loss_smooth_l1'}),
    'lfi.LightlyTrainLoss': ({**WIDTHS, 'queue_size': 8}, {'loss_local', 'loss_queue'}),
    'lfi.FeatureMSELoss': (WIDTHS, {'loss_feature'}),
    'lfi.AttentionTransferLoss': ({}, {'loss_attention'}),
}


@pytest.fixture
def pretrainer(make):
    def build(loss, **changes):
        options, _ = LOSSES[loss]
        return make(type='lfi.FeatureDistillPretrainer', distill_loss=dict(options, type=loss), **changes)

    return build


@pytest.mark.parametrize('prior', [None, dict()])
@pytest.mark.parametrize('backbone', [dict(), dict(out_indices=(1, 3), out_type='featmap')])
@pytest.mark.parametrize('loss', LOSSES)
def test_every_parameter_has_a_gradient(pretrainer, loss, backbone, prior, unlearnt):
    model = pretrainer(loss, backbone=backbone, affinity_prior=prior)
    losses = losses_of(model, batch())
    assert set(losses) == LOSSES[loss][1] | (set() if prior is None else {'loss_affinity'})
    total, _ = model.parse_losses(losses)
    assert total.item() == pytest.approx(sum(loss.item() for loss in losses.values()))
    total.backward()
    assert not unlearnt(model)
    assert model.backbone.patch_embed.projection.weight.grad.any()


@pytest.mark.parametrize('loss', LOSSES)
def test_a_classifier_that_knows_no_label_learns_the_same(pretrainer, loss):
    model = pretrainer(loss, affinity_prior=dict())
    head = MODELS.build(dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16))
    classifier = MODELS.build(
        dict(
            type='lfi.FeatureDistillClassifier',
            backbone=model.backbone,
            head=head,
            data_preprocessor=model.data_preprocessor,
            teacher=model.teacher_cfg,
            distill_loss=dict(LOSSES[loss][0], type=loss),
            affinity_prior=dict(),
        )
    ).train()
    classifier.distill_loss.load_state_dict(model.distill_loss.state_dict())
    hidden = batch([-1] * 4)
    for sample in hidden['data_samples']:
        sample.set_metainfo(dict(unlabelled=True))
    theirs = losses_of(classifier, hidden)
    for data in (batch(), batch([0, 3, 1, 2])):
        model.distill_loss.load_state_dict(pretrainer(loss).distill_loss.state_dict())
        for name, value in losses_of(model, data).items():
            assert torch.allclose(value, theirs[name], atol=1e-6), name


def test_features_are_given_and_the_export_is_the_plain_backbone(make):
    config = dict(distill_loss=dict(WIDTHS, type='lfi.DenseFeaturesLoss'))
    model = make(type='lfi.FeatureDistillPretrainer', backbone=dict(out_type='avg_featmap'), **config).eval()
    images = model.data_preprocessor(batch(), False)['inputs']
    with torch.no_grad():
        (features,) = model(images)
        samples = model.val_step(batch([0, 3, 1, 2]))
    assert torch.stack([sample.features for sample in samples]).equal(features)
    assert [sample.gt_label.item() for sample in samples] == [0, 3, 1, 2]
    exported = export_student(
        model,
        dict(
            type='lfi.FeatureDistillPretrainer',
            backbone={**BACKBONE, 'out_type': 'avg_featmap'},
            data_preprocessor=PREPROCESSOR,
            head=None,
            teacher=model.teacher_cfg,
            **config,
        ),
    )
    assert all(name.startswith('backbone.') for name in exported.state)
    plain = exported.build()
    assert type(plain) is ImageClassifier and plain(images)[0].equal(features)


def test_a_loss_of_class_scores_is_refused(make):
    with pytest.raises(ValueError, match='LogitKDLoss compares class scores, .* take lfi.DenseFeaturesLoss'):
        make(type='lfi.FeatureDistillPretrainer', distill_loss=dict(type='lfi.LogitKDLoss'))


def test_images_that_end_within_a_patch_are_refused(pretrainer):
    model, data = pretrainer('lfi.DenseFeaturesLoss'), batch()
    data['inputs'] = [image[:, :, :28] for image in data['inputs']]
    for sample in data['data_samples']:
        sample.set_metainfo(dict(img_shape=(32, 28)))
    with pytest.raises(ValueError, match='end within a location of 8 x 8 pixels'):
        losses_of(model, data)
