"""An exported student predicts what the trained one did, in OpenMMLab's models and in timm's."""

import json
import re

import pytest
import timm
import torch
import torchvision
from lfi.engine import NonFiniteHook
from lfi.export import (
    build_timm,
    export_student,
    inference_graph,
    relative_difference,
    slim_config,
    slim_model,
    timm_difference,
    to_half,
    to_timm,
    to_torch_export,
)
from lfi.export.run_config import TRAINING_TYPES
from lfi.models import ByTexts, InteractionQueryViT
from lfi.models.students.student import ADDED_ARGUMENTS
from lfi.registry import HOOKS, MODELS
from lfi.utils import register_all_modules
from mmdet.models.detectors import MaskRCNN
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.classifiers import ImageClassifier
from safetensors.torch import save_file

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
PLAIN = dict(write_back='none')
STEM = dict(stem=dict(type='lfi.ConvStem'))
TEACHER = dict(
    type='lfi.VLMAttentionTeacher', model='shapes-tiny', extractor=dict(type='dense'), concepts=['a']
)
# Students that mmpretrain's own ViT can stand for, by their backbone's arguments.
PLAIN_STUDENTS = {
    'class_token': dict(),
    'pooled': dict(out_type='avg_featmap', final_norm=False),
    'clip': dict(
        pre_norm=True,
        norm_cfg=dict(type='LN', eps=1e-5),
        layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
    ),
    'layer_scale': dict(layer_scale_init_value=0.1, qkv_bias=False),
}


def classifier_config(in_channels=16, to_rgb=True, **backbone):
    return dict(
        type='lfi.Student',
        task='mmpretrain.ImageClassifier',
        backbone={
            'type': 'lfi.InteractionQueryViT',
            'arch': ARCH,
            'img_size': 32,
            'patch_size': 8,
            'num_queries': 8,
            **backbone,
        },
        head=dict(type='LinearClsHead', num_classes=4, in_channels=in_channels),
        data_preprocessor=dict(mean=[120.0, 110, 100], std=[60.0, 50, 40], to_rgb=to_rgb),
        teacher=TEACHER,
        readout=dict(text_dims=96),
        supervision=dict(interactions=dict(type='lfi.Interactions')),
    )


def detector_config(**backbone):
    cfg = get_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py').model
    # Random weights find little.
    cfg.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    dense = dict(img_size=64, patch_size=16, with_cls_token=False, out_type='featmap')
    return ConfigDict(
        cfg,
        type='lfi.Student',
        task='mmdet.MaskRCNN',
        backbone={'type': 'lfi.InteractionQueryViT', 'arch': ARCH, 'num_queries': 8, **dense, **backbone},
        neck=dict(type='lfi.SimpleFPN', in_channels=16, out_channels=256),
        teacher=TEACHER,
        readout=dict(text_dims=96),
        supervision=dict(interactions=dict(type='lfi.Interactions')),
    )


def trained(cfg):
    """A model away from its initial values."""
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    for name, parameter in model.named_parameters():
        if name.startswith('backbone.') or parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def images(size=32, batch=2):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('kind', PLAIN_STUDENTS)
@torch.no_grad()
def test_without_queries_a_student_is_mmpretrains_own_model(kind):
    cfg = classifier_config(**PLAIN, **PLAIN_STUDENTS[kind])
    student = trained(cfg)
    exported = export_student(student, cfg)
    assert {name.split('.')[0] for name in exported.removed} == {'backbone', 'readout'}
    plain = exported.build()
    assert type(plain) is ImageClassifier and type(plain.backbone) is VisionTransformer
    for size in (32, 48):
        assert torch.equal(plain(images(size)), student(images(size)))


@pytest.mark.parametrize('backbone', [dict(), dict(persistent=False)])
@torch.no_grad()
def test_queries_that_are_read_stay(backbone):
    cfg = classifier_config(**backbone)
    student = trained(cfg)
    exported = export_student(student.state_dict(), cfg)
    assert {name.split('.')[0] for name in exported.removed} == {'readout'}
    assert exported.model['type'] == 'lfi.Student' and not exported.model.keys() & {*ADDED_ARGUMENTS}
    slim = exported.build()
    assert isinstance(slim, ImageClassifier) and type(slim.backbone) is InteractionQueryViT
    assert torch.equal(slim(images()), student(images()))
    again = export_student(slim, exported.model)
    assert again.model == exported.model and not again.removed


def test_every_hook_of_lfi_is_left_out_of_a_slim_config():
    register_all_modules()
    assert set(HOOKS.module_dict) <= set(TRAINING_TYPES)


@torch.no_grad()
def test_a_part_leaves_its_projection():
    cfg = classifier_config(**PLAIN)
    del cfg['readout']
    cfg['supervision'] = dict(mse=dict(type='lfi.FeatureMSE'))
    student = trained(cfg)
    exported = export_student(student, cfg)
    assert 'supervision.mse.projection.weight' in exported.removed
    assert torch.equal(exported.build()(images()), student(images()))


@pytest.mark.parametrize(
    ('backbone', 'types'),
    [
        (PLAIN, ('mmpretrain.ImageClassifier', 'mmpretrain.VisionTransformer')),
        (dict(num_queries=0, stem=None), ('mmpretrain.ImageClassifier', 'mmpretrain.VisionTransformer')),
        (dict(num_queries=0, **STEM), ('mmpretrain.ImageClassifier', 'lfi.InteractionQueryViT')),
        (dict(), ('lfi.Student', 'lfi.InteractionQueryViT')),
    ],
)
@torch.no_grad()
def test_the_prior_is_left_out(backbone, types):
    cfg = classifier_config(**backbone)
    del cfg['readout'], cfg['teacher']
    cfg['supervision'] = dict(prior=dict(type='lfi.AffinityPrior', loss_weight=3.0))
    student = trained(cfg)
    exported = export_student(student, cfg)
    assert (exported.model['type'], exported.model['backbone']['type']) == types
    assert 'supervision' not in exported.model
    assert ('stem' in exported.model['backbone']) is (backbone.get('stem') is not None)
    assert torch.equal(exported.build()(images()), student(images()))


@pytest.mark.parametrize(
    ('backbone', 'types'),
    [
        (PLAIN, ('mmdet.MaskRCNN', 'mmpretrain.VisionTransformer')),
        (
            dict(write_back='none', window_size=2, use_rel_pos=True),
            ('mmdet.MaskRCNN', 'lfi.InteractionQueryViT'),
        ),
        (dict(**PLAIN, **STEM), ('mmdet.MaskRCNN', 'lfi.InteractionQueryViT')),
        (dict(), ('lfi.Student', 'lfi.InteractionQueryViT')),
    ],
)
@torch.no_grad()
def test_a_detector_predicts_the_same_in_a_padded_batch(backbone, types):
    init_default_scope('mmdet')
    cfg = detector_config(**backbone)
    detector = trained(cfg)
    exported = export_student(detector, cfg)
    assert (exported.model['type'], exported.model['backbone']['type']) == types
    slim = exported.build()
    assert isinstance(slim, MaskRCNN)
    for expected, found in zip(predictions(detector), predictions(slim)):
        assert len(expected.scores) == 5
        assert torch.equal(found.bboxes, expected.bboxes) and torch.equal(found.scores, expected.scores)


@torch.no_grad()
def test_a_query_student_reads_no_padding():
    init_default_scope('mmdet')
    cfg = detector_config()
    exported = export_student(trained(cfg), cfg)
    careless = dict(exported.model, type=exported.model.task)
    del careless['task']
    careless = MODELS.build(careless).eval()
    careless.load_state_dict(exported.state)
    scores, others = (predictions(model)[0].scores for model in (exported.build(), careless))
    assert not torch.equal(scores, others)


def predictions(detector):
    """Of a batch of two images that are padded to 64 pixels."""
    samples = []
    for shape in ((64, 48), (48, 64)):
        known = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), batch_input_shape=(64, 64))
        samples.append(DetDataSample(metainfo=known))
    return [sample.pred_instances for sample in detector.predict(images(64), samples)]


def test_what_the_student_began_with_is_forgotten():
    cfg = classifier_config(
        out_indices=(0, -1), init_cfg=dict(type='Pretrained', checkpoint='x.pth'), **PLAIN
    )
    backbone = slim_model(cfg)['backbone']
    assert 'init_cfg' not in backbone
    assert MODELS.build(backbone).out_indices == [0, 2]


PRETRAINED = dict(type='Pretrained', checkpoint='x.pth')


def test_no_init_cfg_loads_weights_again():
    cfg = resnet_config(init_cfg=[PRETRAINED, dict(type='Constant', layer='Conv2d', val=0)])
    cfg['init_cfg'] = cfg['head']['init_cfg'] = PRETRAINED
    cfg['backbone']['num_queries'] = 3
    slim = slim_model(cfg)
    assert slim.type == 'lfi.Student' and slim.backbone.type == 'lfi.InteractionQueryAdapter'
    assert [each.type for each in slim.backbone.backbone.init_cfg] == ['Constant']
    plain = dict(type='mmpretrain.ImageClassifier', backbone=dict(NARROW_RESNET, init_cfg=PRETRAINED))
    for found in (slim, slim_model(plain)):
        assert 'Pretrained' not in str(found)


@pytest.mark.parametrize('given', [dict(pretrained=True), dict(checkpoint_path='x.pth'), dict()])
def test_a_backbone_of_timm_loads_no_weights_again(given):
    backbone = dict(type='mmpretrain.TIMMBackbone', model_name='test_resnet', features_only=True)
    for num_queries in (0, 3):
        adapter = dict(type='lfi.InteractionQueryAdapter', backbone={**backbone, **given})
        slim = slim_model({**classifier_config(), 'backbone': {**adapter, 'num_queries': num_queries}})
        found = slim.backbone.backbone if num_queries else slim.backbone
        # mmseg's own loads weights by default.
        assert found == dict(backbone, pretrained=False)


def test_a_model_loads_no_weights_again():
    cfg = dict(classifier_config(**PLAIN), pretrained='x.pth')
    assert 'pretrained' not in slim_model(cfg)
    assert cfg['pretrained'] == 'x.pth'


@torch.no_grad()
def test_a_student_without_parts_is_its_tasks_own_model():
    cfg = dict(swin_config(), type='lfi.Student', task='mmpretrain.ImageClassifier')
    student = trained(cfg)
    exported = export_student(student, cfg)
    assert exported.model == swin_config() and not exported.removed
    assert torch.equal(exported.build()(images()), student(images()))


def test_the_means_of_a_control_are_left_out():
    cfg = {**classifier_config(**PLAIN), 'control': dict(type='lfi.MeanTarget')}
    model = trained(cfg)
    for mean in model.control.means['interactions'].values():
        mean.add(torch.ones(3), torch.ones(()))
    exported = export_student(model, cfg)
    names = ('spatial._mean', 'semantic._weight')
    assert {f'control.means.interactions.{name}' for name in names} <= exported.removed.keys()
    exported.build()


def test_weights_of_another_config_are_refused():
    cfg = classifier_config()
    state = trained(cfg).state_dict()
    del state['head.fc.weight']
    with pytest.raises(ValueError, match=r"do not fit the config: missing \['head.fc.weight'\]"):
        export_student(state, cfg)
    with pytest.raises(ValueError, match=r"unexpected \['neck.weight'\]"):
        export_student({**trained(cfg).state_dict(), 'neck.weight': torch.zeros(1)}, cfg)
    # A plain student's weights hold no gates, and no other student may lose them.
    with pytest.raises(ValueError, match="unexpected .'backbone.layers.0.query_gate'"):
        export_student(trained(cfg), classifier_config(**PLAIN))
    with pytest.raises(ValueError, match="unexpected .'backbone.interaction_queries'"):
        export_student(trained(classifier_config(**PLAIN)), dict(slim_model(classifier_config(**PLAIN))))


def test_weights_of_other_shapes_are_refused():
    cfg = classifier_config()
    state = trained(cfg).state_dict()
    state['head.fc.weight'] = state['head.fc.weight'][1:]
    shape = tuple(state['head.fc.weight'].shape)
    with pytest.raises(ValueError, match=rf'they have head.fc.weight {re.escape(str(shape))}, not \('):
        export_student(state, cfg)


@pytest.mark.parametrize('kind', ['lfi.ByTexts', ByTexts, type('ByMyTexts', (ByTexts,), {})])
def test_a_student_that_predicts_by_texts_needs_its_read_out(kind):
    with pytest.raises(ValueError, match=r'predict_by=By\w*Texts scores classes by a read-out'):
        slim_model(dict(classifier_config(), predict_by=dict(type=kind)))


def test_the_config_of_a_run_keeps_its_test_alone():
    cfg = Config(
        dict(
            custom_imports=dict(imports=['lfi']),
            default_scope='mmpretrain',
            data_preprocessor=dict(mean=[1.0], std=[2.0]),
            model=dict(
                type='lfi.Student',
                task='mmpretrain.ImageClassifier',
                backbone=dict(type='lfi.InteractionQueryViT', **PLAIN),
            ),
            train_dataloader=dict(dataset=dict(type='lfi.Shapes')),
            train_pipeline=[dict(type='lfi.RecordView')],
            train_cfg=dict(by_epoch=True),
            optim_wrapper=dict(),
            custom_hooks=[dict(type='lfi.InteractionVisualizationHook')],
            default_hooks=dict(timer=dict(type='IterTimerHook'), maps=dict(type='lfi.InteractionMapsHook')),
            val_dataloader=dict(),
            val_evaluator=dict(type='Accuracy'),
            test_dataloader=dict(),
            test_cfg=dict(),
            test_evaluator=[dict(type='Accuracy'), dict(type='lfi.SemanticConsistencyMetric')],
        )
    )
    assert slim_config(cfg).to_dict() == dict(
        default_scope='mmpretrain',
        data_preprocessor=dict(mean=[1.0], std=[2.0]),
        model=dict(
            type='mmpretrain.ImageClassifier',
            data_preprocessor=dict(mean=[1.0], std=[2.0]),
            backbone=dict(type='mmpretrain.VisionTransformer'),
        ),
        default_hooks=dict(timer=dict(type='IterTimerHook')),
        val_dataloader=dict(),
        val_evaluator=dict(type='Accuracy'),
        test_dataloader=dict(),
        test_cfg=dict(),
        test_evaluator=[dict(type='Accuracy')],
    )
    assert 'train_dataloader' in cfg


def test_a_single_metric_of_ours_goes_with_its_test():
    ours = dict(
        val_dataloader=dict(), val_cfg=dict(), val_evaluator=dict(type='lfi.KNNMetric'), train_cfg=dict()
    )
    theirs = dict(test_dataloader=dict(), test_cfg=dict(), test_evaluator=dict(type='Accuracy'))
    slim = slim_config(Config(dict(model=classifier_config(), **ours, **theirs)))
    assert slim.to_dict().keys() == {'model', *theirs}


@pytest.mark.parametrize('lazy', [False, True])
def test_the_config_of_a_plain_student_needs_no_lfi(lazy):
    cfg = get_config('lfi::classification/lfi_deit-small-p16_clip-b16_imagenet.py')
    cfg.model.backbone.write_back = 'none'
    if lazy:
        cfg.default_hooks.non_finite.type = NonFiniteHook
    slim = slim_config(cfg)
    assert 'lfi' not in slim.pretty_text
    assert {'timer', 'checkpoint'} <= set(slim.default_hooks)


@pytest.mark.parametrize('kind', PLAIN_STUDENTS)
@torch.no_grad()
def test_timm_computes_the_same(kind, tmp_path):
    cfg = classifier_config(**PLAIN, **PLAIN_STUDENTS[kind])
    student = trained(cfg)
    state, config = to_timm(export_student(student, cfg).build())
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(config))
    vit = timm.create_model(f'local-dir:{tmp_path}', pretrained=True).eval()
    torch.testing.assert_close(vit(images()), student(images()), atol=1e-5, rtol=1e-5)

    pixels = timm.data.resolve_model_data_config(vit)
    student.data_preprocessor.to('cpu')
    raw = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    # Loaded as BGR by OpenMMLab.
    expected = student.data_preprocessor(dict(inputs=raw.flip(1)))['inputs']
    mean, std = (torch.tensor(pixels[name]).view(3, 1, 1) for name in ('mean', 'std'))
    torch.testing.assert_close((raw / 255 - mean) / std, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_timm_reads_rgb_where_the_student_read_bgr():
    cfg = classifier_config(to_rgb=False, **PLAIN)
    student = export_student(trained(cfg), cfg).build()
    state, config = to_timm(student)
    vit = build_timm(state, config)
    torch.testing.assert_close(vit(images()), student(images().flip(1)), atol=1e-5, rtol=1e-5)
    assert config['pretrained_cfg']['mean'] == pytest.approx([100 / 255, 110 / 255, 120 / 255])
    assert timm_difference(student, vit, config) < 1e-5


@pytest.mark.parametrize(('name', 'width'), [('test_resnet', 96), ('ese_vovnet19b_slim', 512)])
@torch.no_grad()
def test_timm_takes_a_student_on_a_cnn_of_timm(name, width):
    """Also where timm flattens names of modules for feature maps."""
    features = dict(type='TIMMBackbone', model_name=name, features_only=True)
    cfg = classifier_config()
    cfg['backbone'] = dict(type='lfi.InteractionQueryAdapter', backbone=features)
    cfg['neck'] = dict(type='GlobalAveragePooling')
    cfg['head'] = dict(type='LinearClsHead', num_classes=4, in_channels=width)
    student = export_student(trained(cfg), cfg).build()
    state, config = to_timm(student)
    model = build_timm(state, config)
    torch.testing.assert_close(model(images(64)), student(images(64)), atol=1e-5, rtol=1e-5)
    assert timm_difference(student, model, config) < 1e-5


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('convnext_atto', "timm's convnext_atto has layers behind its last feature map"),
        ('dla34', "timm's dla34 does not begin with one convolution and end with one linear layer"),
        ('mobileone_s0', "timm's mobileone_s0 does not begin with one"),
    ],
)
@torch.no_grad()
def test_a_cnn_of_timm_that_is_more_than_its_maps_and_a_layer_is_refused(name, message):
    features = dict(type='TIMMBackbone', model_name=name, features_only=True)
    with pytest.raises(ValueError, match=message):
        to_timm(trained(dict(type='ImageClassifier', backbone=features)))


@torch.no_grad()
def test_timm_takes_a_detectors_backbone():
    init_default_scope('mmdet')
    cfg = detector_config(**PLAIN)
    student = export_student(trained(cfg), cfg).build()
    state, config = to_timm(student)
    vit = build_timm(state, config)
    tokens = vit.forward_features(images(64)).mT.unflatten(2, (4, 4))
    torch.testing.assert_close(tokens, student.backbone(images(64))[0], atol=1e-5, rtol=1e-5)
    assert timm_difference(student, vit, config) < 1e-5


def blocks(**last):
    """Arguments of all blocks, of which the last one has others."""
    return [dict(), dict(), last]


@pytest.mark.parametrize('dims', [176, 208])
@torch.no_grad()
def test_timm_gets_the_width_of_feed_forward_networks(dims):
    # timm would round the product down to 239.
    assert dims * (240 / dims) < 240
    arch = dict(embed_dims=dims, num_layers=1, num_heads=2, feedforward_channels=240)
    cfg = classifier_config(dims, arch=arch, **PLAIN)
    student = export_student(trained(cfg), cfg).build()
    state, config = to_timm(student)
    assert timm_difference(student, build_timm(state, config), config) < 1e-5


@torch.no_grad()
def test_timm_returns_the_last_of_several_outputs():
    cfg = classifier_config(out_indices=[0, 2], **PLAIN)
    student = export_student(trained(cfg), cfg).build()
    state, config = to_timm(student)
    assert timm_difference(student, build_timm(state, config), config) < 1e-5


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        (dict(), r"write_back='gated': .* with backbone.write_back='none'"),
        (dict(**PLAIN, out_type='avg_featmap'), r'norms before and after pooling \(use final_norm=False\)'),
        (dict(**PLAIN, norm_cfg=dict(type='LN', eps=1e-3)), 'an epsilon of 0.001'),
        (
            dict(**PLAIN, with_cls_token=False, out_type='featmap', window_size=2),
            'does not support this stem, window_size or use_rel_pos',
        ),
        (dict(**PLAIN, **STEM), 'does not support this stem, window_size or use_rel_pos'),
        (dict(**PLAIN, out_indices=[0, 1]), r'out_indices=\[0, 1\] without the last, 2'),
        (dict(**PLAIN, layer_cfgs=blocks(act_cfg=dict(type='ReLU'))), 'an activation ReLU'),
        (
            dict(**PLAIN, layer_cfgs=dict(act_cfg=dict(type='GELU', approximate='tanh'))),
            "an activation GELU.approximate='tanh'.",
        ),
        (
            dict(**PLAIN, layer_cfgs=blocks(act_cfg=dict(type='mmpretrain.QuickGELU'))),
            'blocks that differ in act_layer',
        ),
        (dict(**PLAIN, layer_cfgs=blocks(num_heads=4)), 'blocks that differ in num_heads'),
        (dict(**PLAIN, layer_cfgs=blocks(feedforward_channels=64)), 'blocks that differ in mlp_ratio'),
        (
            dict(**PLAIN, layer_cfgs=blocks(norm_cfg=dict(type='LN', eps=1e-5))),
            'an epsilon of 1e-06 and 1e-05',
        ),
        (
            dict(**PLAIN, layer_cfgs=dict(ffn_type='swiglu_fused')),
            'a feed-forward network SwiGLUFFNFused without exactly two',
        ),
        (dict(**PLAIN, layer_cfgs=dict(num_fcs=3)), 'a feed-forward network FFN without exactly two'),
        (dict(**PLAIN, patch_cfg=dict(stride=4)), r'patches of \(8, 8\) pixels with stride=\(4, 4\)'),
        (dict(**PLAIN, patch_cfg=dict(padding=4)), r'patches of \(8, 8\) pixels with padding=\(4, 4\)'),
        (dict(**PLAIN, patch_cfg=dict(bias=False)), 'patch_cfg.bias=False with pre_norm=False'),
        (dict(**PLAIN, patch_cfg=dict(bias=True), pre_norm=True), 'patch_cfg.bias=True with pre_norm=True'),
        (dict(**PLAIN, img_size=30), r'images of \(30, 30\) pixels in patches of \(8, 8\)'),
        (dict(**PLAIN, patch_cfg=dict(in_channels=1)), "the student's images have 1 channels"),
    ],
)
def test_what_timm_cannot_compute_is_refused(backbone, message):
    cfg = classifier_config(**backbone)
    with pytest.raises(ValueError, match=message):
        to_timm(export_student(trained(cfg), cfg).build())


@pytest.mark.parametrize(
    'backbone',
    [
        dict(),
        STEM,
        dict(with_cls_token=False, out_type='featmap', window_size=3, use_rel_pos=True),
    ],
)
@torch.no_grad()
def test_an_exported_graph_takes_any_batch(backbone, tmp_path):
    cfg = classifier_config(**backbone)
    student = export_student(trained(cfg), cfg).build()
    graph, names = inference_graph(student, 'backbone')
    torch.export.save(to_torch_export(graph, (32, 32)), tmp_path / 'student.pt2')
    loaded = torch.export.load(tmp_path / 'student.pt2').module()
    for batch in (1, 5):
        (found,) = loaded(images(batch=batch))
        torch.testing.assert_close(found, student.backbone(images(batch=batch))[0])
    assert names == ['feature_map' if 'window_size' in backbone else 'class_token']


@torch.no_grad()
def test_a_backbone_that_does_not_say_its_outputs_has_them_counted():
    timm_backbone = dict(type='TIMMBackbone', model_name='test_resnet')
    student = trained(dict(type='ImageClassifier', backbone=timm_backbone))
    graph, names = inference_graph(student, 'backbone')
    assert names == ['feature_map'] and len(graph(images())) == 1
    pyramid = dict(timm_backbone, features_only=True, out_indices=[1, 3])
    graph, names = inference_graph(trained(dict(type='ImageClassifier', backbone=pyramid)), 'backbone')
    assert names == ['feature_map_0', 'feature_map_1'] and len(graph(images())) == 2


@torch.no_grad()
def test_a_graph_with_an_adapters_learned_queries_takes_any_batch():
    cfg = resnet_config()
    cfg['backbone'].update(num_queries=3)
    student = export_student(trained(cfg), cfg).build()
    graph, _ = inference_graph(student, 'classifier')
    program = to_torch_export(graph, (32, 32)).module()
    for batch in (1, 3):
        torch.testing.assert_close(program(images(batch=batch))[0], student(images(batch=batch)))


def swin_config():
    arch = dict(embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 1, 1])
    swin = dict(type='mmpretrain.SwinTransformer', arch=arch, img_size=32, patch_size=2, window_size=2)
    head = dict(type='LinearClsHead', num_classes=4, in_channels=64)
    neck = dict(type='GlobalAveragePooling')
    return dict(type='mmpretrain.ImageClassifier', backbone=swin, neck=neck, head=head)


@torch.no_grad()
def test_swin_computes_in_half_precision():
    # Its masks are float32.
    graph, _ = inference_graph(trained(swin_config()), 'classifier')
    difference = relative_difference(to_half(graph)(images())[0], graph(images())[0])
    assert 0 < difference < 0.02


class FixesTheBatch(torch.nn.Module):
    """As the windows of Swin do."""

    def forward(self, images):
        return images.view(int(images.shape[0] / 1), -1)


def test_a_model_that_fixes_the_number_of_images():
    with pytest.raises(ValueError, match='fixes the number of images, .* --batch N'):
        to_torch_export(FixesTheBatch(), (4, 4))
    program = to_torch_export(FixesTheBatch(), (4, 4), batch=2).module()
    assert program(torch.zeros(2, 3, 4, 4)).shape == (2, 48)


def test_a_graph_of_what_is_not_there_is_refused():
    init_default_scope('mmdet')
    detector = MODELS.build(slim_model(detector_config()))
    with pytest.raises(
        ValueError, match="part='classifier' needs an ImageClassifier with a head, got a Student"
    ):
        inference_graph(detector, 'classifier')


def test_a_head_of_many_tasks_is_refused():
    heads = {name: dict(type='mmpretrain.LinearClsHead', num_classes=2) for name in ('shape', 'colour')}
    student = ImageClassifier(
        backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18),
        head=dict(type='mmpretrain.MultiTaskHead', task_heads=heads, in_channels=512),
    )
    with pytest.raises(ValueError, match='needs a head with the scores of one task, got a MultiTaskHead'):
        inference_graph(student, 'classifier')


# ---- other backbones --------------------------------------------------------------------------------

NARROW_RESNET = dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8, out_indices=(2, 3))


def adapted_config(**options):
    backbone = dict(type='lfi.InteractionQueryAdapter', backbone=NARROW_RESNET, query_dims=16, **options)
    cfg = classifier_config(in_channels=64)
    return {**cfg, 'backbone': backbone, 'neck': dict(type='GlobalAveragePooling')}


@torch.no_grad()
def test_an_adapted_backbone_is_exported_as_the_plain_one():
    cfg = adapted_config()
    student = trained(cfg)
    exported = export_student(student, cfg)
    assert exported.model.type == 'mmpretrain.ImageClassifier' and exported.model.backbone == NARROW_RESNET
    assert {name.split('.')[1] for name in exported.removed if name[0] == 'b'} == {'interaction'}
    plain = exported.build()
    x = images(64)
    assert torch.equal(plain(x), student(x))


@torch.no_grad()
def test_learned_queries_that_write_back_stay():
    cfg = adapted_config(num_queries=3)
    student = trained(cfg)
    exported = export_student(student, cfg)
    assert exported.model.type == 'lfi.Student' and exported.model.task == 'mmpretrain.ImageClassifier'
    assert {name.split('.')[0] for name in exported.removed} == {'readout'}
    x = images(64)
    assert torch.equal(exported.build()(x), student(x))


@pytest.mark.parametrize('num_queries', [0, 3])
@torch.no_grad()
def test_an_adapted_detector_is_exported_as_its_task(num_queries):
    cfg = detector_config()
    backbone = dict(NARROW_RESNET, out_indices=(0, 1, 2, 3))
    cfg.backbone = dict(
        type='lfi.InteractionQueryAdapter', backbone=backbone, query_dims=16, num_queries=num_queries
    )
    cfg.neck = dict(type='mmdet.FPN', in_channels=[8, 16, 32, 64], out_channels=256, num_outs=5)
    init_default_scope('mmdet')
    student = trained(cfg)
    exported = export_student(student, cfg)
    plain = exported.build()
    assert exported.model.type == ('lfi.Student' if num_queries else 'mmdet.MaskRCNN')
    assert exported.model.get('task') == ('mmdet.MaskRCNN' if num_queries else None)
    x = images(64)
    assert all(torch.equal(a, b) for a, b in zip(plain.extract_feat(x), student.extract_feat(x)))


def resnet_config(to_rgb=True, **backbone):
    cfg = classifier_config(in_channels=512, to_rgb=to_rgb)
    plain = dict(type='mmpretrain.ResNet', depth=18, **backbone)
    adapter = dict(type='lfi.InteractionQueryAdapter', backbone=plain, query_dims=16, reads=('layer4',))
    return {**cfg, 'backbone': adapter, 'neck': dict(type='GlobalAveragePooling')}


@pytest.mark.parametrize('to_rgb', [True, False])
@torch.no_grad()
def test_a_resnet_is_one_of_timm_and_of_torchvision(to_rgb):
    cfg = resnet_config(to_rgb)
    student = trained(cfg)
    exported = export_student(student, cfg).build()
    state, config = to_timm(exported)
    model = build_timm(state, config)
    x = images(64)
    expected = student(x if to_rgb else x.flip(1))
    torch.testing.assert_close(model(x), expected, atol=1e-4, rtol=1e-4)
    assert timm_difference(exported, model, config) < 1e-5
    of_torchvision = torchvision.models.resnet18(num_classes=4)
    of_torchvision.load_state_dict(state)
    torch.testing.assert_close(of_torchvision.eval()(x), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_resnet_without_a_head_gives_its_last_map():
    cfg = resnet_config()
    cfg.update(task=None, head=None, neck=None)
    student = trained(cfg)
    exported = export_student(student, cfg).build()
    state, config = to_timm(exported)
    model = build_timm(state, config)
    x = images(64)
    torch.testing.assert_close(model(x), student.backbone(x)[-1], atol=1e-4, rtol=1e-4)
    assert timm_difference(exported, model, config) < 1e-5


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        (dict(style='caffe'), "does not support backbone.style='caffe'"),
        (dict(base_channels=32), 'does not support backbone.base_channels=32'),
        (dict(norm_cfg=dict(type='GN', num_groups=4)), "batch norms with eps=1e-05, and not .*'type': 'GN'"),
        (dict(norm_cfg=dict(type='BN', eps=1e-3)), "not backbone.norm_cfg={'type': 'BN', 'eps': 0.001"),
        (dict(conv_cfg=dict(type='ConvWS')), 'does not support backbone.conv_cfg='),
    ],
)
def test_a_resnet_that_timm_lacks_is_refused(backbone, message):
    cfg = resnet_config(**backbone)
    with pytest.raises(ValueError, match=message):
        to_timm(export_student(trained(cfg), cfg).build())


def test_what_is_neither_is_refused():
    cfg = adapted_config()
    cfg['backbone']['backbone'] = dict(type='mmpretrain.ResNet_CIFAR', depth=18)
    cfg['head'] = dict(type='LinearClsHead', num_classes=4, in_channels=512)
    with pytest.raises(ValueError, match='a ResNet_CIFAR, and no VisionTransformer, ResNet or'):
        to_timm(export_student(trained(cfg), cfg).build())


class Own(ImageClassifier):
    """As one outside of LFI: it may predict in a way of its own."""


@pytest.mark.parametrize('of_student', [False, True])
def test_a_class_of_ones_own_stays(monkeypatch, of_student):
    monkeypatch.setitem(MODELS.module_dict, 'Own', Own)
    kind = dict(type='lfi.Student', task='lfi.Own') if of_student else dict(type='lfi.Own')
    assert slim_model({**swin_config(), **kind})['type'] == 'lfi.Own'
