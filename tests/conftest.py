"""Shared fixtures."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

ROOT = Path(__file__).parents[1]

# Several tests run at a time, and small models gain nothing by threads.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_default_scope():
    """What a Runner or a config sets as OpenMMLab's default scope ends with the test."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope='session')
def data_root():
    """A real data set's folder by its name, `data_root('tiny-imagenet-200')`; skips where it is absent."""
    root = Path(os.environ.get('LFI_DATA_ROOT', ROOT / '../shared/data'))

    def find(name: str) -> Path:
        path = (root / name).resolve()
        if not path.is_dir():
            pytest.skip(f'{name} is not in {root} (LFI_DATA_ROOT sets it)')
        return path

    return find


@pytest.fixture(scope='session')
def teacher_root():
    """The folder that holds lit-effnet-lite0, a trained teacher; skips where it is absent."""
    root = Path(os.environ.get('LFI_TEACHER_ROOT', ROOT / '../shared/teachers')).resolve()
    if not (root / 'lit-effnet-lite0').is_dir():
        pytest.skip(f'lit-effnet-lite0 is not in {root} (LFI_TEACHER_ROOT sets it)')
    return root
