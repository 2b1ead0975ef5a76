import os

import pytest
import torch
from lfi.engine.run_folder import best_checkpoint, config_beside
from lfi.errors import UsageError


def test_the_best_checkpoint_comes_before_the_last(tmp_path):
    with pytest.raises(UsageError, match='has no checkpoint: give the folder of a run'):
        best_checkpoint(tmp_path)
    for name in ('epoch_1.pth', 'epoch_2.pth', 'best_a_epoch_1.pth', 'best_b_epoch_2.pth'):
        torch.save({'state_dict': {}}, tmp_path / name)
    os.utime(tmp_path / 'best_a_epoch_1.pth', (1, 1))
    assert best_checkpoint(tmp_path).name == 'best_b_epoch_2.pth'
    for file in tmp_path.glob('best_*'):
        file.unlink()
    os.utime(tmp_path / 'epoch_1.pth', (1, 1))
    assert best_checkpoint(tmp_path).name == 'epoch_2.pth'


def test_the_config_beside_a_checkpoint_is_that_of_its_export_or_the_only_one(tmp_path):
    with pytest.raises(UsageError, match='must have one config, and has none'):
        config_beside(tmp_path / 'epoch_1.pth')
    (tmp_path / 'run.py').touch()
    assert config_beside(tmp_path / 'epoch_1.pth') == tmp_path / 'run.py'
    (tmp_path / 'student.py').touch()
    assert config_beside(tmp_path / 'student.pth') == tmp_path / 'student.py'
    with pytest.raises(UsageError, match='has run.py, student.py: name that of the training'):
        config_beside(tmp_path / 'epoch_1.pth')
