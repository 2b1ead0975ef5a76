import os

import pytest
import torch
from lfi.engine.run_folder import best_checkpoint, config_beside
from lfi.errors import UsageError


def write_checkpoint(file, time, **noted):
    torch.save({'state_dict': {}, 'message_hub': {'runtime_info': noted}}, file)
    os.utime(file, (time, time))


def test_the_best_checkpoint_comes_before_the_last(tmp_path):
    with pytest.raises(UsageError, match='has no checkpoint: give the folder of a run'):
        best_checkpoint(tmp_path)
    write_checkpoint(tmp_path / 'best_a_epoch_1.pth', 1)
    write_checkpoint(tmp_path / 'best_b_epoch_2.pth', 2)
    assert best_checkpoint(tmp_path).name == 'best_b_epoch_2.pth'
    # The folder was moved.
    noted = dict(best_ckpt_a='old/best_a_epoch_1.pth', best_ckpt_b='old/best_b_epoch_2.pth')
    write_checkpoint(tmp_path / 'epoch_2.pth', 2, **noted)
    assert best_checkpoint(tmp_path).name == 'best_b_epoch_2.pth'


def test_the_best_checkpoint_of_an_earlier_run_is_not_that_of_the_last_run(tmp_path):
    write_checkpoint(tmp_path / 'best_a_epoch_9.pth', 1)
    write_checkpoint(tmp_path / 'epoch_10.pth', 1, best_ckpt='best_a_epoch_9.pth')
    # A second run, without validation.
    write_checkpoint(tmp_path / 'epoch_1.pth', 2)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert best_checkpoint(tmp_path).name == 'epoch_1.pth'
    write_checkpoint(tmp_path / 'best_a_epoch_1.pth', 2)
    write_checkpoint(tmp_path / 'epoch_1.pth', 2, best_ckpt='best_a_epoch_1.pth')
    assert best_checkpoint(tmp_path).name == 'best_a_epoch_1.pth'


def test_the_config_beside_a_checkpoint_is_that_of_its_export_or_the_only_one(tmp_path):
    with pytest.raises(UsageError, match='must have one config, and has none'):
        config_beside(tmp_path / 'epoch_1.pth')
    (tmp_path / 'run.py').touch()
    assert config_beside(tmp_path / 'epoch_1.pth') == tmp_path / 'run.py'
    (tmp_path / 'student.py').touch()
    assert config_beside(tmp_path / 'student.pth') == tmp_path / 'student.py'
    with pytest.raises(UsageError, match='has run.py, student.py: name that of the training'):
        config_beside(tmp_path / 'epoch_1.pth')
