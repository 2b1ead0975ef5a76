"""The description of the machine, and the allocator's settings, in a process of their own."""

import re
import subprocess
import sys

import pytest
import torch
from lfi.engine.launch import set_dataloader_defaults
from lfi.engine.machine import machine
from mmengine.config import Config

# Page faults of filling the same 64 MiB again and again.
PROBE = """
import resource
import torch
from lfi.engine.machine import keep_freed_memory

def faults():
    torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

left = faults()
assert keep_freed_memory()
print(left, faults())
"""


def test_the_gpu_of_a_mac_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    assert re.fullmatch(rf'.+ \(MPS\), torch {re.escape(torch.__version__)}', machine())


def test_the_loaders_of_a_mac_pin_no_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    cfg = Config(dict(train_dataloader=dict(num_workers=2)))
    set_dataloader_defaults(cfg)
    assert cfg.train_dataloader.pin_memory is False


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc alone is set')
def test_memory_is_not_asked_for_again():
    run = subprocess.run([sys.executable, '-c', PROBE], check=True, capture_output=True, text=True)
    left, kept = map(int, run.stdout.split()[-2:])
    assert kept < 100 < left
