"""Where the checkpoints of a config lie, and which hosts are gone."""

from pathlib import Path

import mmengine.runner.checkpoint as mmengine_checkpoint
import pytest
import torch
from lfi.engine import launch
from lfi.engine.checkpoints.addresses import (
    download_path,
    gone_host_message,
    named_checkpoints,
    resolve_checkpoint,
)
from lfi.engine.checkpoints.reading import load_url
from lfi.errors import CheckpointError
from mmengine.config import Config
from mmengine.model import PretrainedInit
from mmengine.registry import MODELS

GONE = 'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/cspnext-tiny_imagenet_600e.pth'
HERE = 'https://mmassets.onedl.ai/mmdetection/v3.0/rtmdet/cspnext-tiny_imagenet_600e.pth'


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder of what was downloaded; nothing is fetched."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(
        torch.hub, 'download_url_to_file', lambda url, *_, **__: pytest.fail(f'fetches {url}')
    )
    return tmp_path


def test_a_config_names_what_a_training_begins_with():
    pretrained = dict(type='Pretrained', prefix='backbone.')
    cfg = Config(
        dict(
            load_from='start.pth',
            checkpoint='https://unused',
            model=dict(
                pretrained='torchvision://resnet50',
                backbone=dict(init_cfg=[dict(type='Kaiming'), dict(pretrained, checkpoint='a.pth')]),
                neck=dict(init_cfg=dict(type='mmengine.Pretrained', checkpoint='b.pth')),
                parts=[dict(init_cfg=dict(type=PretrainedInit, checkpoint='c.pth'))],
                head=dict(init_cfg=dict(type='Normal', std=0.01), pretrained=True),
                teacher=dict(pretrained='openai', trunk=dict(pretrained='trunk.safetensors')),
            ),
        )
    )
    assert dict(named_checkpoints(cfg)) == {
        'load_from': 'start.pth',
        'model.pretrained': 'torchvision://resnet50',
        'model.backbone.init_cfg[1].checkpoint': 'a.pth',
        'model.neck.init_cfg.checkpoint': 'b.pth',
        'model.parts[0].init_cfg.checkpoint': 'c.pth',
        'model.teacher.trunk.pretrained': 'trunk.safetensors',
    }
    assert not list(named_checkpoints(Config(dict(load_from=None, model=dict(type='x')))))


def test_a_name_stands_for_an_address():
    assert resolve_checkpoint('torchvision://resnet50').startswith(
        'https://download.pytorch.org/models/resnet50'
    )
    for scheme in ('open-mmlab', 'openmmlab'):
        assert resolve_checkpoint(f'{scheme}://resnet18_v1c').endswith('/resnet18_v1c-b5776b93.pth')
    # Of an older name.
    assert resolve_checkpoint('open-mmlab://resnet50_caffe').endswith('/resnet50_caffe-788b5fa3.pth')
    for own in (GONE, 'start.pth', 'hf://user/name', 's3://bucket/start.pth'):
        assert resolve_checkpoint(own) == own
    with pytest.raises(
        ValueError, match="torchvision:// has no checkpoint 'resnet51'; did you mean resnet50"
    ):
        resolve_checkpoint('torchvision://resnet51')


def test_a_host_that_is_gone_is_named_with_its_mirror():
    assert gone_host_message(GONE) == f'the host download.openmmlab.com is gone: write {HERE}'
    assert gone_host_message(GONE.replace('https', 'http').replace('mmlab.com', 'MMLab.com:80')).endswith(
        HERE
    )
    assert not gone_host_message(HERE) and not gone_host_message(
        'https://mine.org/download.openmmlab.com/x.pth'
    )
    folder = 'https://download.openmmlab.com/mmclassification/v0'
    said = gone_host_message(f'{folder}/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth')
    assert said.endswith('; or, for a backbone, torchvision://resnet50 with prefix=None')
    # Another layout, and another recipe.
    for name in ('resnetv1d50_b32x8_imagenet_20210531-db14775a', 'resnet50_8xb256-rsb-a1-600e_in1k_2021'):
        assert 'torchvision' not in gone_host_message(f'{folder}/resnet/{name}.pth')


def test_files_of_one_name_are_not_mixed_up():
    first, second = (download_path(f'https://host/run{run}/epoch_10.pth') for run in 'ab')
    assert first != second and Path(first).name == Path(second).name == 'epoch_10.pth'
    assert download_path('https://host/runa/epoch_10.pth?X-Signature=1') == first
    # What a name identifies is found where torch hub puts it.
    for url in ('https://host/resnet50-0676ba61.pth', GONE, HERE):
        assert Path(download_path(url)).parent == Path(torch.hub.get_dir(), 'checkpoints')


def test_nothing_waits_for_a_host_that_is_gone(hub):
    with pytest.raises(
        CheckpointError, match=f'cannot be fetched: .* is gone: write {HERE} in its place, in lo'
    ):
        load_url(GONE)


def test_what_such_a_host_has_given_before_is_read(hub):
    (hub / 'checkpoints').mkdir()
    torch.save(dict(state_dict={}), download_path(GONE))
    assert load_url(GONE) == dict(state_dict={})


@pytest.mark.parametrize('checkpoint', [GONE, 'open-mmlab://resnet18_v1c', 'mmcls://vgg11'])
def test_a_training_ends_in_one_line_that_says_what_to_write(hub, monkeypatch, checkpoint):
    zoo = 'https://download.openmmlab.com/pretrain'
    monkeypatch.setattr(
        mmengine_checkpoint, 'get_external_models', lambda: dict(resnet18_v1c=f'{zoo}/resnet18_v1c.pth')
    )
    monkeypatch.setattr(mmengine_checkpoint, 'get_mmcls_models', lambda: dict(vgg11=f'{zoo}/vgg11.pth'))

    def train():
        init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
        MODELS.build(dict(type='mmpretrain.ResNet', depth=18, init_cfg=init_cfg)).init_weights()

    with pytest.raises(SystemExit) as ended:
        launch.run(train)
    said = str(ended.value)
    assert said.startswith('error: https://download.openmmlab.com/') and '\n' not in said
    assert 'is gone: write https://mmassets.onedl.ai/' in said and 'or put the file at' in said
