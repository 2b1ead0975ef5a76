"""A Python that has imported what most scripts need: it starts scripts at once.

Torch and the OpenMMLab stack take five seconds to import. A fork of a process that has them starts at once,
and a script in it meets what it meets in a process of its own: the command line, the folder, the environment
and the streams that it was given, and no state of the tests. So do the Pythons that it starts in turn by
`sys.executable`. What depends on how a process starts is tested in processes of their own.

`warm_server.py` is the process that forks; `warm_client.py` is what stands for `python`.
"""

import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

FOLDER = Path(__file__).parent
# Seconds that a script may take.
TIMEOUT = 600
# What a warm Python can import before `lfi`, without which mmdet's models may not import. Nothing of it
# registers a model or a data set.
FOUNDATIONS = ('mmcv', 'mmengine.hub', 'mmengine.runner', 'scipy.stats', 'torchvision')
MODULES = (
    'lfi.models',
    'lfi.datasets',
    'mmdet.datasets',
    'mmdet.evaluation',
    'mmdet.models',
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'scipy.stats',
)


class WarmPython:
    """Starts its process on the first use.

    Args:
        env: the environment of the process. What is run in another one that differs in what is read at
            imports, or that has other limits, starts as a process of its own.
        modules: what is imported, in this order.
        starts: the Python that what is run in this one starts in turn; by default this one.
    """

    def __init__(
        self, env: dict[str, str], modules: Sequence[str] = MODULES, starts: 'WarmPython | None' = None
    ) -> None:
        self.env = env
        self.modules = modules
        self.starts = starts

    @cached_property
    def executable(self) -> str:
        """Stands for `python`, for as long as this object is not closed."""
        self._folder = Path(tempfile.mkdtemp(prefix='warm-'))
        # Some take what lies two folders above a Python for its own modules.
        path, python = self._folder / 'socket', self._folder / 'bin/python'
        python.parent.mkdir()
        client = shlex.join(
            [sys.executable, '-IS', str(FOLDER / 'warm_client.py'), str(path), sys.executable]
        )
        python.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
        python.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    FOLDER / 'warm_server.py',
                    str(listener.fileno()),
                    self.starts.executable if self.starts else str(python),
                    *self.modules,
                ],
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
            )
        return str(python)

    def command(self, *args: object) -> list[str]:
        """The command line of `python *args`."""
        return [self.executable, *map(str, args)]

    def run(
        self, args: list, cwd: Path, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        """Run `python *args`. The result's `stdout` is all that it printed.

        Args:
            args: the command line.
            cwd: the folder to run it in.
            variables: of its environment, in addition.

        Raises:
            subprocess.TimeoutExpired: if it takes longer than `TIMEOUT`; it is killed.
        """
        return subprocess.run(
            self.command(*args),
            cwd=cwd,
            env={**self.env, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )

    def close(self) -> None:
        if 'executable' in vars(self):
            # Closing the pipe is not enough: a worker that the tests have forked holds it open too.
            self._process.communicate(b'end', timeout=TIMEOUT)
            shutil.rmtree(self._folder)
