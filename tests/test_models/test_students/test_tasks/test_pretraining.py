"""A backbone alone learns from its teacher without labels, and any model of OpenMMLab takes it."""

import copy

import pytest
import torch
from lfi.concepts import ConceptCheckHook
from lfi.export import export_student
from lfi.registry import MODELS
from mmengine.registry import DefaultScope
from mmpretrain.models.classifiers import ImageClassifier
from small_students import (
    ADAPTER,
    BACKBONE,
    HEAD,
    NORMALISE,
    PARTS,
    RESNET,
    TERMS,
    interactions,
    losses_of,
    parts,
    raw_batch,
)

CONVNEXT = dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16]))
PREPROCESSOR = dict(type='mmpretrain.ClsDataPreprocessor', to_rgb=True, **NORMALISE)
LEARNABLE = [name for name in PARTS if name != 'logit_kd']


def batch(labels=None, **fields):
    return raw_batch(labels, **fields)


@pytest.mark.parametrize('name', LEARNABLE)
def test_a_classifier_that_knows_no_label_learns_the_same(make_pretrainer, make_classifier, name):
    """Labels that are there are not read."""
    model = make_pretrainer(supervision=parts(name, 'prior'))
    classifier = make_classifier(supervision=parts(name, 'prior'))
    state = copy.deepcopy(model.state_dict())
    classifier.load_state_dict(state, strict=False)
    theirs = losses_of(classifier, batch([-1] * 4, hidden=(0, 1, 2, 3)))
    assert theirs.pop('loss_cls') == 0
    for data in (batch(), batch([0, 3, 1, 2])):
        model.load_state_dict(state)
        ours = losses_of(model, data)
        assert ours.keys() == theirs.keys() == TERMS[name] | TERMS['prior']
        for term, value in ours.items():
            assert torch.allclose(value, theirs[term], atol=1e-6), term


def test_the_control_learns_what_another_image_says(make_pretrainer):
    model, control = make_pretrainer(), make_pretrainer(control=dict(type='lfi.OtherImage'))
    control.load_state_dict(model.state_dict())
    data = batch()
    own, changed = losses_of(model, copy.deepcopy(data)), losses_of(control, data)
    assert all(abs(own[name] - changed[name]) > 1e-6 for name in own)


def test_captions_raise_presence(make_pretrainer):
    model = make_pretrainer(supervision=interactions(dict(presence='label')))
    message = "presence='label' counts concepts without a label as absent, .* 'best-location' or 'image'"
    with pytest.raises(ValueError, match=message):
        losses_of(model, batch())
    named = [torch.tensor(concepts, dtype=torch.long) for concepts in ([0], [], [1, 4], [2])]
    data = model.data_preprocessor(batch(gt_concepts=named), training=True)
    presence = model.part_targets(model.batch_of(**data))['interactions'].presence
    expected = torch.zeros(4, 6)
    for row, concepts in enumerate(named):
        expected[row, concepts] = 1
    assert presence.equal(expected)
    del data['data_samples'][2].gt_concepts
    with pytest.raises(ValueError, match=message):
        model.batch_of(**data)


@pytest.mark.parametrize(
    'part', [dict(head=HEAD), dict(neck=dict(type='mmpretrain.GlobalAveragePooling'))], ids=['head', 'neck']
)
def test_what_nothing_would_train_is_refused(make_pretrainer, part):
    (name,) = part
    message = f"{name}=.* would learn nothing without a task: set {name}=None, or name the task, as task='mm"
    with pytest.raises(ValueError, match=message):
        make_pretrainer(**part)


@pytest.mark.parametrize('supervision', [None, {}, dict(prior=None)])
def test_what_learns_nothing_is_refused(make_pretrainer, supervision):
    message = 'supervision teaches the backbone nothing, and there is no task'
    with pytest.raises(ValueError, match=message) as caught:
        make_pretrainer(supervision=supervision)
    assert '\n' not in str(caught.value)
    model = make_pretrainer(supervision=parts('prior'))
    assert set(losses_of(model, batch())) == {'loss_prior'}
    # It is asked and tested all the same.
    make_pretrainer(std=0.1, supervision=supervision).eval().val_step(batch())


def test_attention_alone_is_refused_where_it_leaves_the_last_block_untrained(make_pretrainer):
    spatial = interactions(semantic_weight=0, presence_weight=0)
    message = r'supervision.interactions reads attention alone.*set supervision.interactions.loss.semantic_we'
    with pytest.raises(ValueError, match=message):
        make_pretrainer(supervision=spatial)
    # The student can still be tested.
    make_pretrainer(std=0.1, supervision=spatial).eval().val_step(batch())
    # The layers of an adapter read the last map of the backbone.
    make_pretrainer(supervision=spatial, backbone=ADAPTER)
    last = ('attn.proj.weight', 'ln2.weight', 'ffn.layers.1.weight')
    for supervision in (
        interactions(semantic_weight=0),
        interactions(presence_weight=0),
        spatial | parts('prior'),
    ):
        model = make_pretrainer(supervision=supervision)
        sum(losses_of(model, batch()).values()).backward()
        block = dict(model.backbone.layers[-1].named_parameters())
        assert all(block[name].grad.any() for name in last)


READS = dict(ADAPTER, backbone=dict(RESNET, out_indices=(2, 3)))


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        (dict(interaction_layers=[1]), r'backbone.interaction_layers=\[1\] ends before block 3, .*: add 3'),
        (dict(interaction_layers=[1, -1]), None),
        (dict(READS, reads=[0]), r'backbone.reads=\[0\] ends before output 1: read a later map too. There'),
        (dict(READS, reads=[1]), None),
        (dict(ADAPTER, reads=['layer2', 'layer3']), r'backbone.reads=.* ends before layer4.0.conv1: read a'),
        (dict(ADAPTER, reads=['layer3', 'layer4.1']), None),
        (dict(ADAPTER, backbone=CONVNEXT, reads=['stages.1', 'stages.2']), 'ends before downsample_layers.3'),
        # A norm follows.
        (dict(ADAPTER, backbone=CONVNEXT, reads=['stages.3']), None),
    ],
)
@pytest.mark.parametrize('supervision', [parts('interactions'), parts('affinity'), parts('prior')])
def test_supervision_that_ends_before_the_backbone_does_is_refused(
    make_pretrainer, backbone, message, supervision
):
    if message:
        with pytest.raises(ValueError, match=message):
            make_pretrainer(supervision=supervision, backbone=backbone)
        if 'type' in backbone:
            return
        # What reads the pooled vector trains every layer.
        supervision = supervision | parts('feature_mse')
    # Weights begin far from 0: that of the last norm of a ResNet's block would stop gradients.
    model = make_pretrainer(std=0.2, supervision=supervision, backbone=backbone)
    model.check_training()
    # Of 64 px: two locations a side in the coarsest map.
    data = batch()
    data['inputs'] = [image.repeat(1, 2, 2) for image in data['inputs']]
    for sample in data['data_samples']:
        sample.set_metainfo(dict(img_shape=(64, 64)))
    sum(loss for name, loss in losses_of(model, data).items() if 'loss' in name).backward()
    untrained = [
        name
        for name, parameter in model.backbone.named_parameters()
        if parameter.requires_grad and parameter.ndim > 1 and not parameter.grad.any()
    ]
    assert not untrained


def test_concepts_need_not_be_the_data_sets_classes(make_pretrainer):
    class Runner:
        model = make_pretrainer()

        class train_dataloader:
            class dataset:
                metainfo = dict(classes=['heart', 'circle'])

    ConceptCheckHook().before_train(Runner)


@pytest.mark.parametrize('kind', ['lfi.InteractionQueryViT', 'mmpretrain.VisionTransformer'])
def test_a_classifier_begins_with_its_backbone(make_pretrainer, tmp_path, kind):
    model = make_pretrainer(backbone=dict(out_type='avg_featmap', final_norm=False)).eval()
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


def test_a_detectors_backbone_begins_with_it(make_pretrainer, tmp_path):
    """Without class token, at another size and with a feature map as output, as mmdet and mmseg have it."""
    model = make_pretrainer().eval()
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


@pytest.mark.parametrize('name', ['interactions', 'dense_features'])
def test_an_export_is_the_plain_backbone(make_pretrainer, name):
    backbone = {**BACKBONE, 'out_type': 'avg_featmap'}
    model = make_pretrainer(backbone=backbone, supervision=parts(name)).eval()
    config = dict(
        type='lfi.Student',
        backbone=backbone,
        data_preprocessor=PREPROCESSOR,
        teacher=model.teacher_cfg,
        supervision=parts(name),
    )
    exported = export_student(model, config)
    assert all(name.startswith('backbone.') for name in exported.state)
    plain = exported.build()
    assert type(plain) is ImageClassifier and exported.model.backbone.type == 'mmpretrain.VisionTransformer'
    images = torch.randn(2, 3, 32, 32)
    assert plain(images)[0].equal(model(images)[0])
