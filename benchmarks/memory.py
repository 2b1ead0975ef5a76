"""Peak memory of a training step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile


def peak_memory(model: torch.nn.Module, step: Callable[[], object], device: torch.device) -> float:
    """Peak memory of a model's tensors and a training step, in MiB."""
    model_bytes = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    if device.type == 'cuda':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (model_bytes + torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == '[memory]']
    events.sort(key=lambda event: event.start_ns())
    return (model_bytes + max(accumulate(event.nbytes() for event in events))) / 2**20
