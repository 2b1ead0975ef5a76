"""How much memory a teacher takes."""

from __future__ import annotations

from pathlib import Path

import torch


class PeakMemory:
    """The most memory that was taken since it was made: the GPU's, or the process's where Linux counts it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.counted = True
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path('/proc/self/clear_refs').write_text('5')
        except OSError:
            # Not Linux, or a container whose /proc cannot be written.
            self.counted = False

    def peak(self) -> float | None:
        """In MB; None where it is not counted."""
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        if not self.counted:
            return None
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith('VmHWM'))
