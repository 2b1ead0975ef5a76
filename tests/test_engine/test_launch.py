import errno
from types import SimpleNamespace

import pytest
import torch
from lfi.engine import launch, safe_checkpoint_loading
from lfi.engine.checkpoints.reading import load_from_local
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, IterBasedTrainLoop, Runner


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')


def test_tools_read_checkpoints_safely():
    used = []
    # The block ends what the tool installs.
    with safe_checkpoint_loading():
        CheckpointLoader.register_scheme('', print, force=True)
        launch.run(lambda: used.append(CheckpointLoader._get_checkpoint_loader('epoch_1.pth')))
    assert used == [load_from_local]


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet'])
def test_dataloader_defaults(scope):
    cfg = Config(
        {
            'default_scope': scope,
            'train_dataloader': {'num_workers': 2},
            'val_dataloader': {'num_workers': 0, 'persistent_workers': True, 'pin_memory': True},
            'test_dataloader': None,
        }
    )
    launch.set_dataloader_defaults(cfg)
    assert cfg.train_dataloader.persistent_workers is True
    assert cfg.train_dataloader.pin_memory is torch.cuda.is_available()
    assert ('collate_fn' in cfg.train_dataloader) == (scope == 'mmpretrain')
    assert cfg.val_dataloader.persistent_workers is False
    assert cfg.val_dataloader.pin_memory is True
    assert cfg.test_dataloader is None


def test_one_line_for_a_mistake():
    def main():
        raise UsageError('what is wrong')

    with pytest.raises(SystemExit, match='error: what is wrong'):
        launch.run(main)


@pytest.mark.parametrize('kind', [UsageError, FileNotFoundError])
def test_a_value_that_fails_is_named_with_its_option(kind):
    def main():
        raise kind(errno.ENOENT, 'No such file or directory', '/photos/train/1.jpg')

    options = {'work_dir': 'work', 'data_root': '/photos/'}
    with pytest.raises(SystemExit, match=r'photos/train/1\.jpg.* \(from --cfg-options data_root=/photos/\)$'):
        launch.run(main, options=options)


@pytest.mark.parametrize('kind', [UsageError, OSError])
def test_the_traceback_is_there_for_who_asks(kind, monkeypatch):
    def main():
        raise kind(errno.ENOSPC, 'No space left on device')

    with pytest.raises(SystemExit):
        launch.run(main)
    monkeypatch.setenv('LFI_TRACEBACK', '1')
    with pytest.raises(kind, match='No space left'):
        launch.run(main)


def test_ctrl_c_ends_in_a_word(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        launch.run(main)
    assert stopped.value.code == 130 and capsys.readouterr().err == 'stopped\n'


@pytest.mark.parametrize(
    ('sampler', 'drop_last', 'refused'),
    [('DefaultSampler', True, True), ('InfiniteSampler', True, False), ('DefaultSampler', False, False)],
)
def test_a_training_by_iterations_needs_a_batch_too(sampler, drop_last, refused):
    loader = Runner.build_dataloader(
        dict(dataset=[0, 1, 2], sampler=dict(type=sampler), batch_size=4, drop_last=drop_last, num_workers=0)
    )
    loop = IterBasedTrainLoop(SimpleNamespace(), loader, max_iters=3)
    runner = SimpleNamespace(train_loop=loop)
    if not refused:
        launch.require_batches(runner)
        return
    with pytest.raises(UsageError, match='no batch: 3 images, 1 processes, batch_size=4, drop_last=True'):
        launch.require_batches(runner)
