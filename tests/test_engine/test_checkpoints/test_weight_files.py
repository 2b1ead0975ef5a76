"""Files of weights, written completely or not at all."""

import errno
import os

import pytest
import torch
from lfi.engine.checkpoints.weight_files import same_file, write_weights
from lfi.errors import CheckpointWriteError
from safetensors.torch import load_file

STATE = {'weight': torch.arange(6.0).view(2, 3).T}


def test_both_formats(tmp_path):
    write_weights(STATE, tmp_path / 'a.safetensors', meta={'left': 'out'})
    write_weights(STATE, tmp_path / 'a.pth', meta={'epoch': 3})
    assert torch.equal(load_file(tmp_path / 'a.safetensors')['weight'], STATE['weight'])
    found = torch.load(tmp_path / 'a.pth')
    assert found['meta'] == {'epoch': 3} and torch.equal(found['state_dict']['weight'], STATE['weight'])


def test_tied_weights_are_written_twice(tmp_path):
    tied = torch.arange(6.0)
    write_weights({'a': tied, 'b': tied}, tmp_path / 'a.safetensors')
    found = load_file(tmp_path / 'a.safetensors')
    assert torch.equal(found['a'], tied) and torch.equal(found['b'], tied)


def test_an_address_is_no_file(tmp_path):
    path = tmp_path / 'a.pth'
    path.touch()
    assert same_file(path, str(path)) and same_file(path, f'{tmp_path}/./a.pth')
    assert not same_file(path, 'hf://me/student') and not same_file(path, 'https://x.org/a.pth')


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
def test_an_older_file_stays_where_the_disk_is_full(tmp_path, monkeypatch, name):
    def full(file):
        raise OSError(errno.ENOSPC, 'No space left on device')

    path = tmp_path / name
    path.write_bytes(b'older')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(CheckpointWriteError, match=f'{name} .* cannot be written: No space left'):
        write_weights(STATE, path)
    assert path.read_bytes() == b'older' and len(list(tmp_path.iterdir())) == 1
