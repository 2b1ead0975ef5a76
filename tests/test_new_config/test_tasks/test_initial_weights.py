"""`--weights` of `lfi init`."""

import pytest
import torch
from lfi.errors import UsageError
from lfi.new_config.models import BaseModel, find_classifier
from lfi.new_config.tasks.weights import weights_of


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


def test_weights_of_another_model_are_refused_and_missing_ones_counted(tmp_path, monkeypatch):
    from mmengine.registry import MODELS

    logged = []
    monkeypatch.setattr('lfi.new_config.tasks.weights.print_log', lambda text, *args: logged.append(text))
    resnet = find_classifier('resnet18')
    weights = MODELS.build({**resnet.model['backbone'], '_scope_': 'mmpretrain'}).state_dict()
    plain, student = str(tmp_path / 'plain.pth'), str(tmp_path / 'student.pth')
    torch.save(weights, plain)
    torch.save({'state_dict': {f'backbone.{name}': value for name, value in weights.items()}}, student)
    assert weights_of(resnet, plain)['init_cfg']['prefix'] is None
    assert weights_of(resnet, student)['init_cfg']['prefix'] == 'backbone.'
    assert not logged
    with pytest.raises(UsageError, match='none of its weights fits VisionTransformer, which has cls_tok'):
        weights_of(find_classifier('deit-tiny'), student)
    torch.save({name: value for name, value in weights.items() if not name.startswith('layer4')}, plain)
    weights_of(resnet, plain)
    assert 'weights of the backbone are not in' in logged[0] and 'layer4.0.conv1.weight' in logged[0]
