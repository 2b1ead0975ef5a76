"""A backbone learns from interactions alone, and any model of OpenMMLab takes it."""

import copy

import pytest
import torch
from lfi.concepts import ConceptCheckHook
from lfi.export import export_student
from lfi.models import LFIPretrainer
from lfi.models.students.pretrainers import pooled
from lfi.registry import MODELS
from mmengine.registry import DefaultScope
from mmpretrain.models.classifiers import ImageClassifier
from unlabelled_batches import BACKBONE, PREPROCESSOR, batch, losses_of


@pytest.mark.parametrize(
    'backbone',
    [
        dict(),
        dict(out_type='avg_featmap'),
        dict(out_type='avg_featmap', final_norm=False, with_cls_token=False),
        dict(out_indices=(1, 3), out_type='featmap'),
    ],
)
@pytest.mark.parametrize('prior', [None, dict()])
def test_the_interactions_are_all_that_is_learnt_and_every_parameter_has_a_gradient(
    make, backbone, prior, unlearnt
):
    model = make(backbone=backbone, affinity_prior=prior)
    losses = losses_of(model, batch())
    terms = {'loss_positions', 'loss_concepts', 'loss_presence'}
    assert set(losses) == (terms if prior is None else {*terms, 'loss_affinity'})
    total, log = model.parse_losses(losses)
    assert total > 0 and total.item() == pytest.approx(sum(loss.item() for loss in losses.values()))
    total.backward()
    assert not unlearnt(model)
    assert model.backbone.patch_embed.projection.weight.grad.any()


@pytest.mark.parametrize('num_queries', [0, 2])
def test_outputs_that_nothing_reads_have_gradients_too(make, num_queries, unlearnt):
    plain = dict(
        type='mmpretrain.ConvNeXt',
        arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16]),
        out_indices=(0, 1, 2, 3),
        gap_before_final_norm=False,
    )
    model = make()
    config = dict(type='lfi.InteractionQueryAdapter', backbone=plain, query_dims=16, num_heads=2)
    model.backbone = MODELS.build({**config, 'num_queries': num_queries, 'reads': (1, 2)})
    total, _ = model.parse_losses(losses_of(model, batch()))
    total.backward()
    assert not unlearnt(model)


def test_a_classifier_that_knows_no_label_learns_the_same(make):
    """Of the interactions; labels that are there are not read."""
    model = make()
    classifier = make(
        type='lfi.LFIImageClassifier',
        head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16),
    )
    classifier.load_state_dict(model.state_dict(), strict=False)
    hidden = batch([-1] * 4)
    for sample in hidden['data_samples']:
        sample.set_metainfo(dict(unlabelled=True))
    theirs = losses_of(classifier, hidden)
    for data in (batch(), batch([0, 3, 1, 2])):
        ours = losses_of(model, data)
        for name, value in ours.items():
            assert torch.allclose(value, theirs[name], atol=1e-6), name


def test_the_control_learns_what_another_image_says(make):
    model, control = make(), make(type='lfi.ShuffledImagesPretrainer')
    control.load_state_dict(model.state_dict())
    data = batch()
    own, changed = losses_of(model, data), losses_of(control, data)
    assert all(abs(own[name] - changed[name]) > 1e-6 for name in own)
    # Where it is asked its maps are its own.
    assert isinstance(control, type(model)) and control.eval()._change(data) is data


def test_captions_raise_presence(make):
    model = make(reading=dict(presence='label'))
    with pytest.raises(
        ValueError, match="reading.presence='label' leaves no concept present.* 'best-location'"
    ):
        losses_of(model, batch())
    named = [torch.tensor(concepts, dtype=torch.long) for concepts in ([0], [], [1, 4], [2])]
    data = model.data_preprocessor(batch(gt_concepts=named), training=True)
    presence = model._ask_teacher(**data).presence
    expected = torch.zeros(4, 5)
    for row, concepts in enumerate(named):
        expected[row, concepts] = 1
    assert presence.equal(expected)
    del data['data_samples'][2].gt_concepts
    with pytest.raises(ValueError, match='leaves no concept present'):
        model._ask_teacher(**data)


@pytest.mark.parametrize(
    ('backbone', 'shape'),
    [(dict(), (16,)), (dict(out_type='avg_featmap'), (16,)), (dict(out_type='featmap'), (16, 4, 4))],
)
def test_it_gives_features(make, backbone, shape):
    model, data = make(backbone=backbone).eval(), batch([0, 3, 1, 2])
    inputs = model.data_preprocessor(copy.deepcopy(data), False)['inputs']
    with torch.no_grad():
        (features,) = model(inputs)
        assert features.shape == (4, *shape)
        samples = model.val_step(data)
        alone = model(inputs, mode='predict')
    for sample, other, its in zip(samples, alone, features):
        assert sample.features.shape == (16,)
        assert torch.allclose(sample.features, its.reshape(16, -1).mean(1), atol=1e-6)
        assert sample.features.equal(other.features)
    assert [sample.gt_label.item() for sample in samples] == [0, 3, 1, 2]


def test_features_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 17, 16\) .* set backbone.out_type='avg_featmap'"):
        pooled(torch.zeros(2, 17, 16))


@pytest.mark.parametrize(
    'part',
    [
        dict(head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16)),
        dict(neck=dict(type='mmpretrain.GlobalAveragePooling')),
    ],
)
def test_what_nothing_would_train_is_refused(make, part):
    (name,) = part
    with pytest.raises(ValueError, match=f'{name}=.* would learn nothing without labels: set {name}=None'):
        make(**part)


def test_what_learns_nothing_is_refused(make):
    none = dict(positions_weight=0, concepts_weight=0, presence_weight=0)
    with pytest.raises(
        ValueError, match='nothing to learn where interaction_loss.positions_weight, .* affinity_prior'
    ):
        make(interaction_loss=none)
    model = make(interaction_loss=none, affinity_prior=dict())
    assert set(losses_of(model, batch())) == {'loss_affinity'}


def test_concepts_need_not_be_the_data_sets_classes(make):
    class Runner:
        model = make()

        class train_dataloader:
            class dataset:
                metainfo = dict(classes=['heart', 'circle'])

    ConceptCheckHook().before_train(Runner)


@pytest.mark.parametrize('kind', ['lfi.InteractionQueryViT', 'mmpretrain.VisionTransformer'])
def test_a_classifier_begins_with_its_backbone(make, tmp_path, kind):
    model = make(backbone=dict(out_type='avg_featmap', final_norm=False)).eval()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pretrained.pth')
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'pretrained.pth'), prefix='backbone.')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        classifier = ImageClassifier(
            backbone={
                **BACKBONE,
                'type': kind,
                'out_type': 'avg_featmap',
                'final_norm': False,
                'init_cfg': start,
            },
            head=dict(type='LinearClsHead', num_classes=3, in_channels=16),
            data_preprocessor=PREPROCESSOR,
        )
        classifier.init_weights()
    images = torch.randn(2, 3, 32, 32)
    assert classifier.eval().extract_feat(images)[0].equal(model(images)[0])


def test_a_detectors_backbone_begins_with_it(make, tmp_path):
    """Without class token, at another size and with a feature map as output, as mmdet and mmseg have it."""
    model = make().eval()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pretrained.pth')
    with DefaultScope.overwrite_default_scope('mmdet'):
        backbone = MODELS.build(
            dict(
                BACKBONE,
                img_size=64,
                with_cls_token=False,
                out_type='featmap',
                init_cfg=dict(
                    type='Pretrained', checkpoint=str(tmp_path / 'pretrained.pth'), prefix='backbone.'
                ),
            )
        )
        backbone.init_weights()
    for name, value in model.backbone.state_dict().items():
        if name.startswith(('layers.', 'patch_embed.')):
            assert backbone.state_dict()[name].equal(value), name
    (features,) = backbone(torch.randn(2, 3, 64, 64))
    assert features.shape == (2, 16, 8, 8)


def test_an_export_is_the_plain_backbone(make):
    config = dict(
        backbone={**BACKBONE, 'out_type': 'avg_featmap'},
        data_preprocessor=PREPROCESSOR,
        head=None,
        teacher=dict(type='lfi.VLMAttentionTeacher', model='shapes-tiny', concepts=['a']),
    )
    model = LFIPretrainer(**copy.deepcopy(config)).eval()
    exported = export_student(model, dict(type='lfi.LFIPretrainer', **config))
    assert all(name.startswith('backbone.') for name in exported.state)
    plain = exported.build()
    assert type(plain) is ImageClassifier and exported.model.backbone.type == 'mmpretrain.VisionTransformer'
    images = torch.randn(2, 3, 32, 32)
    assert plain(images)[0].equal(model(images)[0])
