"""Building opens no file, and takes no more memory than the weights allow."""

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lfi.student_folder.bounded_build import (
    Bounds,
    EndlessWorkError,
    ForbiddenActionError,
    OutOfBoundsError,
    bounded_build,
)
from torch import nn

SMALL = Bounds(size=2**20, parts=50)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A pickle beside the process, `weights`."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'weights'
    path.write_bytes(pickle.dumps([1]))
    return path


@pytest.mark.parametrize(
    'action',
    [
        lambda: open('weights'),  # noqa: SIM115
        lambda: Path('weights').read_bytes(),
        lambda: os.open('weights', os.O_RDONLY),
        lambda: os.open(b'weights', os.O_RDONLY),
        lambda: open(Path('weights'), 'wb'),  # noqa: SIM115
        lambda: open(os.path.join(sys.prefix, 'new'), 'w'),  # noqa: SIM115
        lambda: open(f'{os.path.dirname(os.__file__)}/../../../../../../etc/hostname'),  # noqa: SIM115
        lambda: torch.load('weights'),
        lambda: np.load('weights', allow_pickle=True),
        lambda: np.fromfile('weights'),
        lambda: pickle.loads(pickle.dumps(Path())),
        lambda: subprocess.run(['true']),
        lambda: os.system('true'),
        lambda: os.remove('weights'),
        lambda: Path('new').mkdir(),
        lambda: socket.create_connection(('127.0.0.1', 9)),
    ],
)
def test_files_and_programs_are_refused(planted, action):
    with bounded_build(SMALL), pytest.raises(ForbiddenActionError, match='is not allowed while a student'):
        action()
    assert planted.read_bytes()


def test_a_link_to_a_file_is_that_file(planted, tmp_path):
    # As if it were installed: Python itself lies behind links, too.
    (tmp_path / 'link').symlink_to(os.__file__)
    with bounded_build(SMALL):
        assert (tmp_path / 'link').read_bytes()


def test_what_is_installed_can_be_imported_late(monkeypatch):
    monkeypatch.delitem(sys.modules, 'this', raising=False)
    with bounded_build(SMALL):
        import colorsys  # noqa: F401

        assert Path(os.__file__).read_bytes()


def test_a_module_in_the_working_directory_is_not_imported(planted, monkeypatch):
    Path('colour_codes.py').write_text('raise SystemExit("it was run")')
    monkeypatch.syspath_prepend('')
    with bounded_build(SMALL), pytest.raises((ImportError, PermissionError)):
        import colour_codes  # noqa: F401


def test_other_threads_and_later_work_are_let_alone(planted):
    read = []
    with bounded_build(SMALL):
        thread = threading.Thread(target=lambda: read.append(planted.read_bytes()))
        thread.start()
        thread.join()
    with pytest.raises(ZeroDivisionError), bounded_build(SMALL):
        _ = 1 / 0
    assert [planted.read_bytes()] == read
    assert len(nn.Sequential(*[nn.Linear(2, 2) for _ in range(60)])) == 60
    assert torch.zeros(2**20).numel() == 2**20


@pytest.mark.parametrize(
    'make',
    [
        lambda: nn.Linear(10**6, 10**6),
        lambda: nn.Embedding(2**40, 2**20),
        lambda: torch.zeros(2**45),
        lambda: torch.Tensor(2**20, 2**20),
        lambda: torch.arange(2**40),
        lambda: torch.ones(2**17)[:, None] * torch.ones(2**17),
        lambda: torch.zeros(1, 10).repeat(2**30, 1),
        lambda: [torch.zeros(2**17) for _ in range(2**17)],
        lambda: nn.Conv2d(2**17, 2**17, 3),
    ],
)
def test_memory_is_counted_before_it_is_taken(make):
    with bounded_build(SMALL), pytest.raises(OutOfBoundsError, match='more than 1,048,576 bytes'):
        make()


def test_layers_are_counted_as_they_are_made():
    with bounded_build(SMALL), pytest.raises(OutOfBoundsError, match='more than 50 modules and parameters'):
        nn.ModuleList(nn.ReLU() for _ in range(10**9))


def test_a_loop_of_python_is_ended():
    with bounded_build(replace(SMALL, seconds=0.1)), pytest.raises(EndlessWorkError, match='more time'):
        while True:
            pass
    # And nothing comes later.
    time.sleep(0.3)


@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='the system does not say how much it takes')
def test_lists_of_python_are_ended():
    kept = []
    with bounded_build(replace(SMALL, size=2**25)), pytest.raises(EndlessWorkError, match='or memory'):
        while len(kept) < 2**12:
            kept.append(bytes(2**20) + b'x')
            # The watching thread gets its turn, however busy the machine is.
            time.sleep(0.003)


def test_what_is_in_bounds_is_built_as_ever():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    torch.manual_seed(0)
    with bounded_build(SMALL):
        built = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        assert torch.linspace(0, 1, 3).sum().item() == 1.5
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), built.state_dict().values()))


def test_a_process_that_has_compiled_nothing_before_builds(tmp_path):
    code = (
        'from lfi.student_folder.bounded_build import Bounds, bounded_build\nfrom torch import nn\n'
        'with bounded_build(Bounds.of_weights(1, 1)): print(nn.Linear(3, 4))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'TMPDIR': str(tmp_path), 'TORCHINDUCTOR_CACHE_DIR': str(tmp_path / 'new')},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith('Linear('), done.stderr
