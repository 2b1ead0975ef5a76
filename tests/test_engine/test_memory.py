"""The allocator's settings, in a process of its own."""

import subprocess
import sys

import pytest

# Page faults of filling the same 64 MiB again and again.
PROBE = """
import resource, sys
import torch
from lfi.engine.memory import keep_freed_memory

if sys.argv[1] == 'keep':
    assert keep_freed_memory()
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc alone is set')
def test_memory_is_not_asked_for_again():
    faults = {}
    for way in ('keep', 'leave'):
        run = subprocess.run([sys.executable, '-c', PROBE, way], check=True, capture_output=True, text=True)
        faults[way] = int(run.stdout.split()[-1])
    assert faults['keep'] < 100 < faults['leave']
