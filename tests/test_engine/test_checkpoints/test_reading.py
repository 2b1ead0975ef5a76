import errno
import os
import pickle
from collections import deque
from pathlib import Path

import mmengine.runner.checkpoint
import pytest
import torch
from lfi.engine import (
    AtomicLocalBackend,
    CheckpointWriteError,
    CorruptedCheckpointError,
    UnsafeCheckpointError,
    find_checkpoint_to_resume,
    install_safe_checkpoint_loading,
    safe_checkpoint_loading,
)
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint
from safetensors.torch import save_file


@pytest.fixture(autouse=True)
def read_safely():
    with safe_checkpoint_loading():
        yield


class ToyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, inputs, labels, mode='loss'):
        logits = self.linear(torch.stack(inputs))
        return {'loss': torch.nn.functional.cross_entropy(logits, torch.stack(labels))}


class ToyDataset(torch.utils.data.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return {'inputs': torch.arange(4.0) * (index % 3), 'labels': torch.tensor(index % 2)}


def toy_runner(work_dir: Path, max_epochs: int, max_keep_ckpts: int = -1, **kwargs) -> Runner:
    torch.manual_seed(0)
    hook = {
        'type': 'CheckpointHook',
        'interval': 1,
        'max_keep_ckpts': max_keep_ckpts,
        'backend_args': {'backend': 'lfi_atomic'},
    }
    return Runner(
        ToyModel(),
        str(work_dir),
        train_dataloader={
            'dataset': ToyDataset(),
            'batch_size': 4,
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'num_workers': 0,
        },
        train_cfg={'by_epoch': True, 'max_epochs': max_epochs},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.1}},
        param_scheduler=[
            {'type': 'OneCycleLR', 'eta_max': 0.1, 'total_steps': 12, 'by_epoch': False},
            {'type': 'CosineAnnealingLR', 'T_max': 4},
        ],
        default_hooks={'checkpoint': hook},
        randomness={'seed': 0},
        log_level='WARNING',
        experiment_name=work_dir.name,
        **kwargs,
    )


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """What a Runner saves after two epochs."""
    toy_runner(tmp_path / 'work', max_epochs=2).train()
    return tmp_path / 'work' / 'epoch_2.pth'


class Evil:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def evil_file(path: Path, evil: Evil, zipped: bool = True) -> Path:
    content = {'state_dict': {'linear.bias': torch.zeros(2)}, 'meta': evil}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def test_resume_equals_training_without_a_break(tmp_path):
    unbroken = toy_runner(tmp_path / 'unbroken', max_epochs=3)
    unbroken.train()
    checkpoint = str(tmp_path / 'unbroken' / 'epoch_2.pth')
    resumed = toy_runner(tmp_path / 'resumed', max_epochs=3, load_from=checkpoint, resume=True)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (3, 9)
    for name, value in unbroken.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)
    assert resumed.optim_wrapper.get_lr() == unbroken.optim_wrapper.get_lr()
    losses = [runner.message_hub.get_scalar('train/loss').data[0] for runner in (resumed, unbroken)]
    assert losses[0].tolist() == losses[1].tolist()


@pytest.mark.parametrize(
    ('function', 'args', 'refused'),
    [
        (os.mkdir, lambda path: (str(path),), r'posix\.mkdir|nt\.mkdir'),
        (eval, lambda path: (f'open({str(path)!r}, "w")',), 'eval'),
        (Path.touch, lambda path: (path,), 'pathlib'),
        (getattr, lambda path: (HistoryBuffer, '__init__'), 'getattr'),
        (getattr, lambda path: ([], 'append'), 'getattr'),
    ],
    ids=['module', 'eval', 'method', 'getattr', 'getattr-of-a-list'],
)
@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_file_is_not_run(tmp_path, function, args, refused, zipped):
    mark = tmp_path / 'mark'
    file = evil_file(tmp_path / 'evil.pth', Evil(function, *args(mark)), zipped)
    for load in (_load_checkpoint, lambda name: load_checkpoint(ToyModel(), name)):
        with pytest.raises(UnsafeCheckpointError, match=refused) as caught:
            load(str(file))
        assert str(file) in str(caught.value)
        assert 'no code of it was run' in str(caught.value)
    assert not mark.exists()


def test_runner_does_not_run_code_in_a_file(tmp_path):
    mark = tmp_path / 'mark'
    file = evil_file(tmp_path / 'evil.pth', Evil(os.mkdir, str(mark)))
    for resume in (True, False):
        runner = toy_runner(tmp_path / f'work{resume}', max_epochs=1, load_from=str(file), resume=resume)
        with pytest.raises(UnsafeCheckpointError, match=r'evil\.pth was refused'):
            runner.train()
    assert not mark.exists()


def test_code_in_a_downloaded_file_is_not_run(tmp_path, monkeypatch):
    mark = tmp_path / 'mark'
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    evil_file(tmp_path / 'checkpoints' / 'evil-01234567.pth', Evil(os.mkdir, str(mark)))
    with pytest.raises(UnsafeCheckpointError, match=r'evil-01234567\.pth was refused'):
        _load_checkpoint('https://localhost/evil-01234567.pth')
    assert not mark.exists()


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_plain_pickle_is_not_run(tmp_path):
    mark = tmp_path / 'mark'
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        file = tmp_path / f'{protocol}.pth'
        file.write_bytes(pickle.dumps(Evil(os.mkdir, str(mark)), protocol=protocol))
        with pytest.raises((UnsafeCheckpointError, CorruptedCheckpointError), match=file.name):
            _load_checkpoint(str(file))
    assert not mark.exists()


class Trusted:
    pass


def test_a_trusted_class_can_be_allowed(tmp_path):
    file = evil_file(tmp_path / 'trusted.pth', Trusted())
    with pytest.raises(UnsafeCheckpointError, match=r'add_safe_globals\(\[.*Trusted\]\)'):
        _load_checkpoint(str(file))
    with torch.serialization.safe_globals([Trusted]):
        assert isinstance(_load_checkpoint(str(file))['meta'], Trusted)


@pytest.mark.filterwarnings('ignore:.*TorchScript archive')
def test_a_refusal_names_the_cause_and_does_not_advise_to_read_unsafely(tmp_path):
    torch.save({'lines': deque([1])}, tmp_path / 'deque.pth')
    with torch.serialization.safe_globals([deque]), pytest.raises(UnsafeCheckpointError) as caught:
        _load_checkpoint(str(tmp_path / 'deque.pth'))
    message = str(caught.value)
    assert message.endswith("Can only append to lists, but got <class 'collections.deque'>")
    assert 'weights_only' not in message and '\n' not in message

    module = torch.jit.script(torch.nn.ReLU())
    torch.jit.save(module, tmp_path / 'script.pth')
    with pytest.raises(UnsafeCheckpointError, match='TorchScript archives') as caught:
        _load_checkpoint(str(tmp_path / 'script.pth'))
    assert 'Re-running' not in str(caught.value)


def test_the_users_allow_list_is_left_as_it_was(checkpoint):
    with torch.serialization.safe_globals([HistoryBuffer]):
        before = set(torch.serialization.get_safe_globals())
        _load_checkpoint(str(checkpoint))
        assert set(torch.serialization.get_safe_globals()) == before


def test_a_block_of_safe_loading_leaves_mmengine_as_it_was():
    def readers() -> dict:
        names = ('load_url', '_safe_torch_load')
        functions = {name: getattr(mmengine.runner.checkpoint, name, None) for name in names}
        return {**functions, **CheckpointLoader._schemes}

    before = readers()
    with pytest.raises(KeyboardInterrupt), safe_checkpoint_loading():
        raise KeyboardInterrupt
    assert readers() == before


def test_install_twice_changes_nothing():
    install_safe_checkpoint_loading()
    before = dict(CheckpointLoader._schemes)
    install_safe_checkpoint_loading()
    assert dict(CheckpointLoader._schemes) == before


def test_safetensors(tmp_path):
    weights = {name: torch.ones_like(value) for name, value in ToyModel().state_dict().items()}
    save_file(weights, tmp_path / 'ones.safetensors')
    model = ToyModel()
    load_checkpoint(model, str(tmp_path / 'ones.safetensors'), map_location='cpu', strict=True)
    assert model.linear.weight.eq(1).all()


@pytest.mark.parametrize('name', ['truncated.pth', 'truncated.safetensors'])
@pytest.mark.parametrize('kept', [0.0, 0.1, 0.6, 0.99])
def test_truncated_file(tmp_path, name, kept):
    complete, truncated = tmp_path / 'complete', tmp_path / name
    weights = {'weight': torch.ones(100, 100)}
    torch.save(weights, complete) if name.endswith('pth') else save_file(weights, complete)
    truncated.write_bytes(complete.read_bytes()[: int(kept * complete.stat().st_size)])
    with pytest.raises(CorruptedCheckpointError, match=rf'{name} is truncated or corrupted'):
        _load_checkpoint(str(truncated))


@pytest.mark.parametrize('where', [0.0, 0.2, 0.5, 0.8, 0.995])
def test_changed_bytes_are_found(tmp_path, where):
    file = tmp_path / 'changed.pth'
    torch.save({'weight': torch.ones(100, 100), 'name': 'x' * 1000}, file)
    content = bytearray(file.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CorruptedCheckpointError, match=r'changed\.pth is .*corrupted'):
        _load_checkpoint(str(file))
    assert find_checkpoint_to_resume(str(tmp_path)) is None


def test_a_file_saved_without_checksums_is_read_on_request(tmp_path):
    file = tmp_path / 'unchecked.pth'
    checked = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({'weight': torch.ones(2)}, file)
        assert _load_checkpoint(str(file))['weight'].eq(1).all()
    finally:
        torch.serialization.set_crc32_options(checked)
    with pytest.raises(CorruptedCheckpointError, match=r'set_crc32_options\(False\)'):
        _load_checkpoint(str(file))


def test_no_checkpoint_at_all(tmp_path):
    pointer = tmp_path / 'pointer.pth'
    pointer.write_text('version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(
        CorruptedCheckpointError, match=r'pointer\.pth is truncated or corrupted, or no checkpoint at all'
    ):
        _load_checkpoint(str(pointer))
    with pytest.raises(FileNotFoundError, match=r'missing\.pth'):
        _load_checkpoint(str(tmp_path / 'missing.pth'))


@pytest.mark.parametrize('content', [3, [torch.ones(2)], 'text'])
def test_a_file_without_a_dict_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / 'other.pth')
    said = rf'other\.pth is .* no checkpoint at all: it holds no dict, but `{type(content).__name__}`'
    with pytest.raises(CorruptedCheckpointError, match=said):
        _load_checkpoint(str(tmp_path / 'other.pth'))


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        OSError(errno.EIO, 'Input/output error'),
        torch.OutOfMemoryError('CUDA out of memory.'),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError('Attempting to deserialize object on a CUDA device'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_machine_stays_what_it_is(tmp_path, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    torch.save({'weight': torch.ones(2)}, tmp_path / 'good.pth')
    monkeypatch.setattr(torch, 'load', fail)
    with pytest.raises(type(error)) as caught:
        _load_checkpoint(str(tmp_path / 'good.pth'))
    assert caught.value is error


def test_find_checkpoint_to_resume(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'lfi.engine.checkpoints.reading.print_log', lambda message, *args: said.append(message)
    )

    assert find_checkpoint_to_resume(str(tmp_path)) is None
    names = ['epoch_9.pth', 'epoch_10.pth', 'epoch_11.pth', 'best_top1_epoch_11.pth']
    for age, name in enumerate(names):
        torch.save({'name': name}, tmp_path / name)
        os.utime(tmp_path / name, (age, age))
    epochs = [str(tmp_path / name) for name in names[:3]]
    assert find_checkpoint_to_resume(str(tmp_path)) == epochs[2]

    (tmp_path / 'last_checkpoint').write_text(epochs[1])
    assert find_checkpoint_to_resume(str(tmp_path)) == epochs[1]

    (tmp_path / 'last_checkpoint').write_text(epochs[2])
    Path(epochs[2]).write_bytes(Path(epochs[2]).read_bytes()[:-100])
    assert find_checkpoint_to_resume(str(tmp_path)) == epochs[1]
    assert f'{epochs[2]} is corrupted' in said[-1]
    assert f'Resuming from {epochs[1]} instead' in said[-1]

    Path(epochs[2]).unlink()
    assert find_checkpoint_to_resume(str(tmp_path)) == epochs[1]
    assert f'{epochs[2]} is missing' in said[-1]
    (tmp_path / 'last_checkpoint').write_text('')
    assert find_checkpoint_to_resume(str(tmp_path)) == epochs[1]


@pytest.mark.parametrize('left', [True, False], ids=['the old folder is there', 'it is not'])
def test_a_folder_that_was_moved_is_resumed(tmp_path, left):
    """MMEngine notes the complete path of the last checkpoint."""
    folder = tmp_path / 'moved'
    folder.mkdir()
    for age, name in enumerate(('epoch_1.pth', 'epoch_2.pth')):
        torch.save({'name': name}, folder / name)
        os.utime(folder / name, (age, age))
    old = tmp_path / 'old'
    if left:
        old.mkdir()
    (folder / 'last_checkpoint').write_text(str(old / 'epoch_2.pth'))
    assert find_checkpoint_to_resume(str(folder)) == str(folder / 'epoch_2.pth')
    (folder / 'epoch_2.pth').unlink()
    assert find_checkpoint_to_resume(str(folder)) == str(folder / 'epoch_1.pth')


@pytest.fixture
def fail_to_write(monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    return lambda: monkeypatch.setattr(os, 'fsync', fail)


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, fail_to_write):
    file = tmp_path / 'folder' / 'file'
    AtomicLocalBackend().put(b'old', file)
    fail_to_write()
    with pytest.raises(CheckpointWriteError, match=r'file \(0\.0 MB\) cannot be written: No space left'):
        AtomicLocalBackend().put(b'new', file)
    assert [path.read_bytes() for path in file.parent.iterdir()] == [b'old']


def test_a_checkpoint_is_removed_when_the_next_one_is_complete(tmp_path, fail_to_write):
    def files() -> list[str]:
        return sorted(path.name for path in (tmp_path / 'work').glob('*.pth'))

    work = tmp_path / 'work'
    toy_runner(work, max_epochs=2, max_keep_ckpts=1).train()
    assert files() == ['epoch_2.pth']
    last = str(work / 'epoch_2.pth')
    runner = toy_runner(work, max_epochs=3, max_keep_ckpts=1, load_from=last, resume=True)
    fail_to_write()
    with pytest.raises(CheckpointWriteError, match=r'epoch_3\.pth'):
        runner.train()
    assert files() == ['epoch_2.pth']


def test_a_text_keeps_its_link_and_its_mode(tmp_path):
    file, link = tmp_path / 'page.md', tmp_path / 'link.md'
    AtomicLocalBackend().put_text('old', file)
    file.chmod(0o664)
    link.symlink_to(file)
    AtomicLocalBackend().put_text('new ß', link)
    assert link.is_symlink() and file.read_text(encoding='utf-8') == 'new ß'
    assert file.stat().st_mode & 0o777 == 0o664
