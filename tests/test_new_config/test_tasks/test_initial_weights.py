"""`--weights` of `lfi init`."""

import pytest
import torch
from lfi.errors import UsageError
from lfi.new_config.models import BaseModel, find_classifier
from lfi.new_config.reading import find_data
from lfi.new_config.settings import Settings
from lfi.new_config.splitting import check_splits
from lfi.new_config.tasks import classification_config
from lfi.new_config.tasks.weights import describe_weights, weights_of
from mmengine.registry import MODELS
from small_data_sets import write_class_folders


def test_random_weights_are_all_trained():
    frozen = dict(
        type='ResNet', frozen_stages=1, norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False)
    )
    base = BaseModel(base=None, model=dict(backbone=frozen))
    assert weights_of(base, 'none') == dict(
        init_cfg=None, frozen_stages=-1, norm_eval=False, norm_cfg=dict(requires_grad=True)
    )
    assert weights_of(base, None) == {}
    free = dict(type='ResNet', frozen_stages=-1)
    assert weights_of(BaseModel(base=None, model=dict(backbone=free)), 'none') == dict(init_cfg=None)


def test_weights_of_another_model_are_refused(tmp_path):
    resnet = find_classifier('resnet18')
    weights = MODELS.build({**resnet.model['backbone'], '_scope_': 'mmpretrain'}).state_dict()
    plain, student = str(tmp_path / 'plain.pth'), str(tmp_path / 'student.pth')
    torch.save(weights, plain)
    torch.save({'state_dict': {f'backbone.{name}': value for name, value in weights.items()}}, student)
    assert weights_of(resnet, plain)['init_cfg']['prefix'] is None
    assert weights_of(resnet, student)['init_cfg']['prefix'] == 'backbone.'
    for other in ('deit-tiny', 'resnet50'):
        with pytest.raises(UsageError, match=r'\d+ of the \d+ weights of \w+ are not in it or have another'):
            weights_of(find_classifier(other), student)


@pytest.mark.parametrize(('part', 'out_type'), [('readout', 'avg_featmap'), ('head', 'cls_token')])
def test_a_pretrained_vit_is_read_by_its_patches(part, out_type, tmp_path):
    # A pretraining saves a read-out and no head. It trains no class token.
    vit = find_classifier('deit-tiny')
    weights = MODELS.build({**vit.model['backbone'], '_scope_': 'mmpretrain'}).state_dict()
    state = {f'backbone.{name}': value for name, value in weights.items()}
    torch.save({'state_dict': {**state, f'{part}.weight': torch.zeros(1)}}, tmp_path / 'epoch_1.pth')
    data = check_splits(find_data(write_class_folders(tmp_path / 'photos'), tmp_path / 'out'))
    settings = Settings(weights=str(tmp_path / 'epoch_1.pth'))
    config = classification_config(data, vit, settings, tmp_path / 'out')
    model = MODELS.build(config['model'])
    assert model.backbone.out_type == out_type
    assert len(model.predict(torch.zeros(1, 3, 64, 64))) == 1


@pytest.mark.parametrize(
    ('backbone', 'text'),
    [
        (dict(type='ResNet'), 'random, since no checkpoint was named'),
        (dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')), 'a.pth'),
        (dict(init_cfg=[dict(type='Kaiming', layer='Conv2d')]), 'random, since no checkpoint was named'),
        (dict(type='TIMMBackbone', pretrained=True), 'those that timm publishes'),
    ],
)
def test_the_initial_weights_are_said(backbone, text):
    assert describe_weights(backbone, 'resnet19') == text


def test_the_weights_of_timms_twin_are_named():
    expected = 'random; --model timm/resnet18 --weights timm would start from published ones'
    assert describe_weights(dict(type='ResNet'), 'resnet18') == expected
