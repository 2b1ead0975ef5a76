"""Following a tool that another tool runs."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lfi.engine.machine import MACHINE
from lfi.errors import UsageError

_running: set[subprocess.Popen] = set()
_stopped: set[subprocess.Popen] = set()


def tool_output(
    command: Sequence[str],
    name: str,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[str]:
    """The lines that a command prints, errors among them.

    Args:
        command: with its arguments.
        name: what it does, for the error.
        env: Defaults to this process's environment.
        cwd: Defaults to this process's directory.
        pass_fds: file descriptors that it inherits. Defaults to none.

    Raises:
        UsageError: if it fails; the message begins with its last lines.
    """
    tail: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        _running.add(process)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                tail.append(line)
                yield line
        finally:
            _running.discard(process)
    if process.returncode:
        raise UsageError(
            f'{"".join(tail)}\n{name} failed with exit code {process.returncode}: {" ".join(command)}'
        )


def stop_tools() -> None:
    """Terminate all that `tool_output` follows, in whatever thread, each once: torchrun takes no second."""
    for process in _running - _stopped:
        _stopped.add(process)
        process.terminate()


def follow_training(lines: Iterable[str], at_epoch: Callable[[int], None]) -> str | None:
    """Read what `tools/train.py` prints.

    Args:
        lines: of it.
        at_epoch: called with the number of each epoch that is validated.

    Returns:
        The machine that it says it runs on, or None.
    """
    machine = None
    for line in lines:
        if MACHINE in line:
            machine = line.split(MACHINE, 1)[1].strip()
        elif 'Epoch(val) [' in line:
            at_epoch(int(line.split('Epoch(val) [')[1].split(']')[0]))
    return machine
