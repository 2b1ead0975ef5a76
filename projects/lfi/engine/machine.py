"""Which machine a number comes from."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch


def machine() -> str:
    """The device, its number of threads and torch's version, for a table's caption."""
    if torch.cuda.is_available():
        return f'{torch.cuda.get_device_name()}, torch {torch.__version__}'
    capability = torch.backends.cpu.get_cpu_capability()
    threads = f'{torch.get_num_threads()} of {os.cpu_count()} threads'
    return f'{_processor()} ({capability}), {threads}, torch {torch.__version__}'


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    names = re.findall(r'^model name\s*: (.+)$', info.read_text(), re.M) if info.exists() else []
    return names[0] if names else platform.processor() or 'CPU'
