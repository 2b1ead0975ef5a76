"""How the tools are run for a cell: plainly, by torchrun, or by Slurm."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Launcher:
    """The command lines of `tools/train.py`, `tools/test.py` and `lfi cache`.

    Args:
        gpus: processes that share the batch of a cell. Defaults to one, without a launcher.
        slurm: the partition in which each command is a Slurm job. Defaults to running it here.
        python: the interpreter. Defaults to this one.
    """

    gpus: int | None = None
    slurm: str | None = None
    python: str = sys.executable

    def command(
        self, tool: str, config: str, work_dir: Path, checkpoint: Path | str | None = None
    ) -> list[str]:
        """`tools/train.py`, or with a checkpoint `tools/test.py`; further arguments may follow."""
        subject = [config] if checkpoint is None else [config, str(checkpoint)]
        if self.slurm:
            head = ['bash', f'tools/slurm_{tool}.sh', self.slurm, f'lfi-{work_dir.parent.name}', *subject]
            return [*head, str(work_dir)] if checkpoint is None else [*head, '--work-dir', str(work_dir)]
        if self.gpus:
            head = ['bash', f'tools/dist_{tool}.sh', *subject, str(self.gpus)]
        else:
            head = [self.python, f'tools/{tool}.py', *subject]
        return [*head, '--work-dir', str(work_dir)]

    def cache_command(self, config: str) -> list[str]:
        """`lfi cache`; further arguments may follow.

        It runs on this machine, where cells are Slurm jobs too: as one process, for this one may have no GPU.
        """
        if self.gpus and not self.slurm:
            return ['bash', 'tools/dist_cache_teacher.sh', config, str(self.gpus)]
        return [self.python, '-m', 'lfi', 'cache', config]

    def environment(self, slot: int) -> dict[str, str]:
        """What the scripts read beside their arguments.

        Args:
            slot: number of the cell among those of the study: jobs on a machine need a port each.
        """
        found = {'PYTHON': self.python, 'PORT': str(port_for(slot))}
        return found | ({'GPUS': str(self.gpus)} if self.gpus else {})


def port_for(slot: int) -> int:
    """A port for the processes of one cell to meet at.

    Args:
        slot: number of the cell among those of the study.

    Returns:
        `PORT`, where it is set, plus the slot; otherwise a port that is free on this machine. Slurm runs the
        cell on another machine, where it is as good as any.
    """
    if 'PORT' in os.environ:
        return int(os.environ['PORT']) + slot % 1000
    with socket.socket() as probe:
        probe.bind(('', 0))
        return probe.getsockname()[1]
