"""Which machine a number comes from."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch
from mmengine import dist

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
