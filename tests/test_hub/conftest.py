"""A small student, a run's folder, a small cache, and a stand-in for the Hub."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import lfi
import numpy as np
import pytest
import torch
from hub_server import Hub
from huggingface_hub import file_download
from lfi import config_path
from lfi.datasets.rendering import CLASS_NAMES
from lfi.export import model_config
from lfi.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from written_cache import write_cache

SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


@pytest.fixture(scope='session')
def small_config():
    """`small_config(name, **model)`: a config of the repository with a small backbone."""

    def make(name=SHAPES, **model):
        cfg = Config.fromfile(config_path(name))
        cfg.model.backbone.arch = ARCH
        if cfg.model.get('head'):
            cfg.model.head.in_channels = 16
        cfg.merge_from_dict(dict(model=model))
        return cfg

    return make


@pytest.fixture(scope='session')
def small_student(small_config):
    """`small_student(cfg)`: its model away from its initial values, and the config."""

    def make(cfg=None):
        cfg = small_config() if cfg is None else cfg
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        model = MODELS.build(model_config(cfg)).eval()
        for value in model.state_dict().values():
            if value.is_floating_point() and value.ndim:
                value += 0.1 * torch.randn(value.shape)
        if getattr(model, 'readout', None) is not None and hasattr(model.readout, 'contrast_texts'):
            # As before the training: they must be embeddings of the teacher.
            model.readout.contrast_texts.zero_()
        return model, cfg

    return make


@pytest.fixture
def run_folder(finished_run, tmp_path):
    """The folder of a run that validated twice, as MMEngine leaves it."""
    folder = Path(shutil.copytree(finished_run, tmp_path / 'run'))
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_2.pth'))
    return folder


@pytest.fixture(scope='session')
def finished_run(small_student, tmp_path_factory):
    """What `run_folder` copies."""
    model, cfg = small_student()
    folder = tmp_path_factory.mktemp('finished')
    (folder / '20260101/vis_data').mkdir(parents=True)
    cfg.dump(folder / 'lfi_vit-128x6-p8_shapes.py')
    rows = [
        {'loss': 2.5, 'time': 0.1, 'step': 2, 'epoch': 1},
        {'accuracy/top1': 40.0, 'data_time': 0.1, 'time': 0.2, 'step': 1},
        {'accuracy/top1': 62.5, 'data_time': 0.1, 'time': 0.2, 'step': 2},
    ]
    text = '\n'.join(map(json.dumps, rows))
    (folder / '20260101/vis_data/scalars.json').write_text(text)
    meta = dict(epoch=2, iter=400, seed=7, dataset_meta=dict(classes=CLASS_NAMES[::-1]))
    torch.save({'meta': meta, 'state_dict': model.state_dict()}, folder / 'epoch_2.pth')
    return folder


@pytest.fixture(scope='session')
def saved_student(finished_run, tmp_path_factory):
    """The folder of its student."""
    return lfi.save_pretrained(finished_run / 'epoch_2.pth', tmp_path_factory.mktemp('saved'))


@pytest.fixture
def small_cache(make_maps, tmp_path):
    """The folder of a finished cache of two images."""
    folder = tmp_path / 'cache'
    maps, paths = make_maps(directions=('spatial',)), ['train/a.png', 'train/b.png']
    teacher = dict(model='shapes-tiny', weights='5c', concepts=['a', 'b', 'c'], background=[])
    write_cache(folder, teacher, paths, np.eye(3, 8, dtype=np.float32), maps)
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in for the Hub, which `huggingface_hub` asks in place of the real one."""
    hub = Hub()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, 'ENDPOINT', hub.url)
    # HF_ENDPOINT is read when huggingface_hub is imported.
    template = f'{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    # huggingface_hub < 1 reads a copy of it.
    monkeypatch.setattr(file_download, 'HUGGINGFACE_CO_URL_TEMPLATE', template, raising=False)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hub_cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    # The server knows the older protocol of uploads.
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
    yield hub
    hub.close()
