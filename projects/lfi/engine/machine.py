"""The machine: its description, its devices and its memory allocator."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from pathlib import Path

import torch
from mmengine import dist
from mmengine.device import get_device

# Prefix of the log line that describes the machine.
MACHINE = 'Machine: '


def machine() -> str:
    """Describe the device, its number of threads and torch's version, for the caption of a table.

    In a run of several processes it describes the device of this process and gives their number.
    """
    processes = '' if dist.get_world_size() == 1 else f'{dist.get_world_size()} processes, each on '
    if torch.cuda.is_available():
        return f'{processes}{torch.cuda.get_device_name()}, torch {torch.__version__}'
    if torch.backends.mps.is_available():
        return f'{processes}{_processor()} (MPS), torch {torch.__version__}'
    capability = torch.backends.cpu.get_cpu_capability()
    threads = f'{torch.get_num_threads()} of {os.cpu_count()} threads'
    return f'{processes}{_processor()} ({capability}), {threads}, torch {torch.__version__}'


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    names = re.findall(r'^model name\s*: (.+)$', info.read_text(), re.M) if info.exists() else []
    return names[0] if names else platform.processor() or 'CPU'


# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
GIB = 1 << 30


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of freed memory for its next step.

    glibc returns large blocks to the system at once. Each training step frees and allocates the same hundreds
    of MiB, which took a fifth of the time of our steps. The call has the effect of the variables
    `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_`, which PyTorch's performance guide recommends.

    Returns:
        Whether the thresholds were set, which needs Linux with glibc.
    """
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None or not mallopt(M_TRIM_THRESHOLD, GIB):
        return False
    # glibc before 2.35 accepts at most 32 MiB.
    return bool(mallopt(M_MMAP_THRESHOLD, GIB) or mallopt(M_MMAP_THRESHOLD, 32 << 20))


def usable_device(device: str | None) -> torch.device:
    """Return the torch device of a name, after an attempt to use it.

    Args:
        device: Name of the device. None for a GPU if there is one, else the CPU.

    Raises:
        ValueError: If the device cannot be used on this machine.
    """
    try:
        usable = torch.device(device or get_device())
        torch.empty(0, device=usable)
    # torch without CUDA raises an AssertionError.
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'device={device!r} cannot be used: {error}') from error
    return usable
