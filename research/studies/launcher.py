"""Command lines of the tools for a cell: plain, by torchrun, or by Slurm."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Launcher:
    """Builder of the command lines of `tools/train.py`, `tools/test.py` and `lfi cache`.

    Args:
        gpus: number of processes that share the batch of a cell. Defaults to None: one, without a launcher.
        slurm: Slurm partition in which each command is a job. Defaults to None: commands run on this machine.
        python: interpreter. Defaults to `sys.executable`.
    """

    gpus: int | None = None
    slurm: str | None = None
    python: str = sys.executable

    def command(
        self, tool: str, config: str, work_dir: Path, checkpoint: Path | str | None = None
    ) -> list[str]:
        """Return the command of `tools/train.py`, or with a checkpoint of `tools/test.py`, to be extended."""
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
        """Return the command of `lfi cache`, to be extended.

        With Slurm it runs on this machine too, as one process, since this machine may have no GPU.
        """
        if self.gpus and not self.slurm:
            return ['bash', 'tools/dist_cache_teacher.sh', config, str(self.gpus)]
        return [self.python, '-m', 'lfi', 'cache', config]

    def environment(self, slot: int) -> dict[str, str]:
        """Return the environment variables of the scripts.

        Args:
            slot: index of the cell in the study; jobs on one machine need different ports.
        """
        # A study has reports of its own.
        variables = {'PYTHON': self.python, 'PORT': str(port_for(slot)), 'LFI_REPORT': '0'}
        return variables | ({'GPUS': str(self.gpus)} if self.gpus else {})


def port_for(slot: int) -> int:
    """Return the rendezvous port of a cell's processes.

    Args:
        slot: index of the cell in the study.

    Returns:
        `PORT` plus the slot if the variable is set, else a free port of this machine. A Slurm job runs on
        another machine, where the port is only likely to be free.
    """
    if 'PORT' in os.environ:
        return int(os.environ['PORT']) + slot % 1000
    with socket.socket() as probe:
        probe.bind(('', 0))
        return probe.getsockname()[1]
