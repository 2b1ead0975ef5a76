"""The machine: what a number comes from, where a model runs, and how memory is kept on the CPU."""

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

# How a run says in its log what it runs on.
MACHINE = 'Machine: '


def machine() -> str:
    """The device, its number of threads and torch's version, for a table's caption.

    In a run of several processes it is that of this one, and their number.
    """
    processes = '' if dist.get_world_size() == 1 else f'{dist.get_world_size()} processes, each on '
    if torch.cuda.is_available():
        return f'{processes}{torch.cuda.get_device_name()}, torch {torch.__version__}'
    capability = torch.backends.cpu.get_cpu_capability()
    threads = f'{torch.get_num_threads()} of {os.cpu_count()} threads'
    return f'{processes}{_processor()} ({capability}), {threads}, torch {torch.__version__}'


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    names = re.findall(r'^model name\s*: (.+)$', info.read_text(), re.M) if info.exists() else []
    return names[0] if names else platform.processor() or 'CPU'


# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
GIB = 1 << 30


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of freed memory for its next step.

    glibc returns large blocks to the system at once. Each training step frees and allocates the same hundreds
    of MiB, and in ours that took a fifth of its time. The call does what the variables
    `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` do, which PyTorch's performance guide recommends.

    Returns:
        Whether it was done: on Linux with glibc.
    """
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None or not mallopt(M_TRIM_THRESHOLD, GIB):
        return False
    # glibc before 2.35 takes no more than 32 MiB here.
    return bool(mallopt(M_MMAP_THRESHOLD, GIB) or mallopt(M_MMAP_THRESHOLD, 32 << 20))


def usable_device(device: str | None) -> torch.device:
    """The device of a name.

    Args:
        device: None for a GPU where there is one, else the CPU.

    Raises:
        ValueError: If it cannot be used here; the message names it.
    """
    try:
        found = torch.device(device or get_device())
        torch.empty(0, device=found)
    # Torch without CUDA asserts that it has it.
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'device={device!r} cannot be used: {error}') from error
    return found
