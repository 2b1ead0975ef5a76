"""The allocator's settings, in a process of its own."""

import subprocess
import sys

import pytest

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


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc alone is set')
def test_memory_is_not_asked_for_again():
    run = subprocess.run([sys.executable, '-c', PROBE], check=True, capture_output=True, text=True)
    left, kept = map(int, run.stdout.split()[-2:])
    assert kept < 100 < left
