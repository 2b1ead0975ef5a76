"""Models by the names that their users know."""

import pytest
from lfi.errors import UsageError
from lfi.new_config.models import find_classifier, find_dense_model


@pytest.mark.parametrize(
    ('name', 'base', 'backbone'),
    [
        ('resnet50', 'mmpretrain::_base_/models/resnet50.py', 'ResNet'),
        ('ConvNeXt-Tiny', 'mmpretrain::_base_/models/convnext/convnext-tiny.py', 'ConvNeXt'),
        ('swin-tiny', 'mmpretrain::_base_/models/swin_transformer/tiny_224.py', 'SwinTransformer'),
        ('vit-base-p16', 'mmpretrain::_base_/models/vit-base-p16.py', 'VisionTransformer'),
        ('deit-tiny', None, 'VisionTransformer'),
        ('mobilenetv3_small_100', None, 'TIMMBackbone'),
        ('timm/resnet18', None, 'TIMMBackbone'),
    ],
)
def test_classifiers(name, base, backbone):
    found = find_classifier(name)
    assert (found.base, found.model['backbone']['type']) == (base, backbone)
    # A complete model is looked up in mmpretrain, as a base is.
    assert base or found.model['_scope_'] == 'mmpretrain'


@pytest.mark.parametrize(
    ('name', 'base'),
    [
        ('rtmdet_tiny', 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'),
        ('rtmdet-tiny', 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'),
        ('faster-rcnn_r50', 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
        ('yolox_tiny_8xb8-300e_coco.py', 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'),
    ],
)
def test_detectors(name, base):
    assert find_dense_model(name, 'mmdet').base == base


@pytest.mark.parametrize(
    ('find', 'message'),
    [
        (
            lambda: find_classifier('resnet19'),
            r'--model resnet19 is no model of mmpretrain or timm; .* resnet18, ',
        ),
        (lambda: find_classifier('qqq'), '--model qqq is no model of mmpretrain or timm; no name is similar'),
        (
            lambda: find_dense_model('rtmdet_smal', 'mmdet'),
            r'--model rtmdet_smal is no config of mmdet; .*rtmdet_',
        ),
    ],
)
def test_other_names_are_refused_with_similar_ones(find, message):
    with pytest.raises(UsageError, match=message) as error:
        find()
    names = str(error.value).partition('similar names are ')[2].split(', ')
    assert len(set(names)) == len(names) and '\n' not in str(error.value)


def test_the_project_must_be_installed(monkeypatch):
    monkeypatch.setattr('lfi.new_config.models.find_spec', lambda name: None)
    with pytest.raises(
        UsageError, match=r"need mmseg, which is not installed: pip install 'lfi\[segmentation\]'"
    ):
        find_dense_model('fpn_r50', 'mmseg')


def test_models_of_timm_need_feature_maps(monkeypatch):
    def refuse(*args, **options):
        raise RuntimeError('no features_only')

    monkeypatch.setattr('timm.create_model', refuse)
    with pytest.raises(
        UsageError, match='--model visformer_tiny: timm gives no feature maps of it: no features'
    ):
        find_classifier('visformer_tiny')
