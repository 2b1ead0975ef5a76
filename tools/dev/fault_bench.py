"""Test bench for faults: a tiny training on built-in data that is run, killed, resumed and compared."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import cv2
import torch
from lfi.cli import run_command
from lfi.engine.checkpoints.reading import load_from_local

ROOT = Path(__file__).resolve().parents[2]
EPOCHS, STEPS, BATCH_SIZE = 6, 3, 8
NUM_IMAGES = STEPS * BATCH_SIZE
# Epoch of most faults: there are older checkpoints, and further epochs.
PREPARED_EPOCH = 3
# Seconds after which a run counts as hung, even on a busy machine.
TIMEOUT = 300
RESUME_ARGUMENTS = ('--work-dir', 'work', '--resume')
# Imports shared by all runs, which are forks of this process and so start quickly.
MODULES = (
    'lfi.datasets',
    'lfi.engine',
    'lfi.evaluation',
    'lfi.models',
    'lfi.cli.train',
    'lfi.visualization',
    'mmpretrain.apis',
    # mmengine imports setuptools to log the environment.
    'setuptools',
)

# Without augmentation, a resumed run gets the same images as an undisturbed run.
SHAPES_CONFIG = f"""
_base_ = {str(ROOT / 'configs' / 'classification' / 'lfi_vit-128x6-p8_shapes.py')!r}
custom_imports = dict(imports=['lfi', 'poison'])
model = dict(
    backbone=dict(arch=dict(embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=128)),
    head=dict(in_channels=64),
)
transforms = [
    dict(type='PoisonImages'),
    dict(type='lfi.RecordView', transforms=[]),
    dict(type='lfi.LoadInteractionMaps'),
]
pack = dict(type='PackInputs', algorithm_keys=('view', 'interaction_maps'))
train_dataloader = dict(
    batch_size={BATCH_SIZE},
    num_workers=0,
    dataset=dict(num_images={NUM_IMAGES}, pipeline=[*transforms, pack]),
)
val_dataloader = dict(batch_size=10, num_workers=0, dataset=dict(num_images=10))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs={EPOCHS})
default_hooks = dict(logger=dict(interval=1))
"""
# `SHAPES_CONFIG` with images from files in `images`.
FILES_CONFIG = """
_base_ = 'shapes.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='lfi.TinyImageNet',
        data_root='images',
        pipeline=[dict(type='LoadImageFromFile'), *_base_.transforms, _base_.pack],
    )
)
"""
# Transform that makes the NaN pixels of a broken decoder or a division by 0.
POISON = """
import os
from lfi.datasets.transforms.view_matrix import identity, view_matrix
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PoisonImages(BaseTransform):
    def transform(self, results):
        results['img'] = results['img'].astype('float32')
        if os.path.basename(results['img_path']) in os.environ.get('POISONED', '').split():
            results['img'][:] = float('nan')
        return results


view_matrix.register(PoisonImages, identity)
"""


class NotSurvivedError(Exception):
    """Error for a fault with an effect that LFI must prevent."""


def require(condition: object, message: str) -> None:
    """Raise a `NotSurvivedError` unless a condition holds."""
    if not condition:
        raise NotSurvivedError(message)


@dataclass(frozen=True)
class Run:
    """Command that runs in a separate process, and the file of its output."""

    process: multiprocessing.process.BaseProcess
    log: Path

    @property
    def output(self) -> str:
        """Output of the command so far."""
        return self.log.read_text(errors='replace')

    @property
    def iterations(self) -> int:
        """Number of logged iterations, including those before it was resumed."""
        logged = re.findall(r'Epoch\(train\)\s+\[(\d+)\]\[(\d+)/', self.output)
        return (int(logged[-1][0]) - 1) * STEPS + int(logged[-1][1]) if logged else 0

    @property
    def resumed_at(self) -> int:
        """Iteration from which the run was resumed; 0 if it was not resumed."""
        match = re.search(r'resumed epoch: \d+, iter: (\d+)', self.output)
        return int(match.group(1)) if match else 0

    def wait_for(self, condition: Callable[[], object]) -> bool:
        """Wait for a condition; return False if the run ends first."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if not self.process.is_alive():
                return False
            if time.monotonic() > deadline:
                self._fail_as_hung()
            time.sleep(0.0005)
        return True

    def _fail_as_hung(self) -> None:
        self.kill()
        raise NotSurvivedError(f'the run hangs: {self.output[-300:]}')

    def sleep(self, seconds: float) -> bool:
        """Let the run continue for some seconds; return False if it ends first."""
        end = time.monotonic() + seconds
        return self.wait_for(lambda: time.monotonic() > end)

    def kill(self) -> None:
        """Kill the run by SIGKILL."""
        self.process.kill()
        self.process.join()

    def end(self) -> int:
        """Wait for the end of the run, and return the exit code."""
        self.process.join(TIMEOUT)
        if self.process.is_alive():
            self._fail_as_hung()
        return self.process.exitcode


def run_in_folder(
    command: str, arguments: list[str], folder: Path, log: Path, variables: dict, file_limit: int
) -> None:
    """Run a command of `lfi` in a folder as from a shell, in a new process."""
    file = os.open(log, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(variables)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.path.insert(0, str(folder))
    run_command(command, arguments)


class Bench:
    """Folder in which a training is disturbed.

    Args:
        folder: empty folder.
        kills: number of times that a run is killed.
        tries: number of tries of faults with a random byte or time.
        seed: seed of the random numbers.

    Attributes:
        work: work dir of the disturbed run.
        reference: work dir of an undisturbed run, with the checkpoints of all epochs.
        epoch_seconds: duration of an undisturbed epoch.
    """

    def __init__(self, folder: Path, kills: int, tries: int, seed: int) -> None:
        self.folder, self.kills, self.tries = folder, kills, tries
        self.work = folder / 'work'
        self.random = random.Random(seed)
        self._processes = multiprocessing.get_context('fork')
        for module in MODULES:
            import_module(module)
        # A fork copies only the thread that calls it.
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        for name, text in (('shapes.py', SHAPES_CONFIG), ('files.py', FILES_CONFIG), ('poison.py', POISON)):
            (folder / name).write_text(text)
        self.run('--work-dir', 'work', options=('default_hooks.checkpoint.max_keep_ckpts=-1',))
        self.reference = self.work.rename(folder / 'reference')
        first, last = (checkpoint(self.reference, epoch).stat().st_mtime for epoch in (1, EPOCHS))
        self.epoch_seconds = (last - first) / (EPOCHS - 1)

    def start(
        self,
        *arguments: object,
        command: str = 'train',
        config: str = 'shapes.py',
        options: tuple[str, ...] = (),
        file_limit: int = resource.RLIM_INFINITY,
        **variables: str,
    ) -> Run:
        """Start a command.

        Args:
            *arguments: arguments of the command, after the config.
            command: command of `lfi`. Defaults to 'train'.
            config: config in the folder. Defaults to 'shapes.py'.
            options: values of `--cfg-options`. Defaults to none.
            file_limit: largest file that the command may write, in bytes. Defaults to no limit.
            **variables: environment variables.
        """
        command_line = [config, *map(str, arguments), *(['--cfg-options', *options] if options else [])]
        log = self.folder / 'log.txt'
        log.write_text('')
        process = self._processes.Process(
            target=run_in_folder, args=(command, command_line, self.folder, log, variables, file_limit)
        )
        process.start()
        return Run(process, log)

    def run(self, *arguments: object, code: int = 0, **settings) -> str:
        """Run a command to its end, and return its output without the folder's path.

        Raises:
            NotSurvivedError: if the exit code is not `code`.
        """
        run = self.start(*arguments, **settings)
        exit_code = run.end()
        require(exit_code == code, f'exit code {exit_code} instead of {code}: {run.output[-600:]}')
        return run.output.replace(f'{self.folder}/', '')

    def refuse(self, *arguments: object, **settings) -> str:
        """Run a command that must end with an error of one line, and return the error."""
        output = self.run(*arguments, code=1, **settings)
        errors = re.findall(r'^error: (.*)', output, re.MULTILINE)
        require(errors and 'Traceback' not in output, f'no error of one line: {output[-600:]}')
        return errors[-1]

    def exit_code_of(self, function: Callable, *args: object, **kwargs: object) -> int:
        """Call a function in a separate process without output, and return the exit code."""

        def call() -> None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            function(*args, **kwargs)

        process = self._processes.Process(target=call)
        process.start()
        process.join()
        return process.exitcode

    def clear(self) -> None:
        """Empty the work dir."""
        shutil.rmtree(self.work, ignore_errors=True)

    def prepare(self) -> Path:
        """Set up the work dir of a run that stopped after three epochs, and return its newest checkpoint."""
        self.clear()
        self.work.mkdir()
        self.fill()
        return checkpoint(self.work, PREPARED_EPOCH)

    def fill(self) -> None:
        """Copy the checkpoints of three epochs to the work dir."""
        for epoch in range(1, PREPARED_EPOCH + 1):
            shutil.copy2(checkpoint(self.reference, epoch), self.work)
        (self.work / 'last_checkpoint').write_text(str(checkpoint(self.work, PREPARED_EPOCH)))

    def resume(self, epochs: int = PREPARED_EPOCH + 1) -> str:
        """Resume until `epochs` are done, compare with the undisturbed run, and return the output."""
        output = self.run('--work-dir', 'work', '--resume', options=(f'train_cfg.max_epochs={epochs}',))
        self.require_reference(epochs)
        return output

    def require_reference(self, epoch: int) -> None:
        """Compare an epoch's checkpoint bit for bit with that of the undisturbed run."""
        folders = (self.reference, self.work)
        expected, actual = (load_from_local(str(checkpoint(folder, epoch))) for folder in folders)
        for key in ('epoch', 'iter'):
            require(
                actual['meta'][key] == expected['meta'][key],
                f'the checkpoint is of {key} {actual["meta"][key]}',
            )
        for name, value in expected['state_dict'].items():
            require(
                torch.equal(actual['state_dict'][name], value), f'{name} differs from the undisturbed run'
            )


def checkpoint(work: Path, epoch: int) -> Path:
    """Path of the checkpoint of an epoch."""
    return work / f'epoch_{epoch}.pth'


def modification_times(bench: Bench, pattern: str) -> dict[str, int]:
    """Modification times of files in the work dir in nanoseconds, by name."""
    times = {}
    for path in bench.work.glob(pattern):
        # The run may have removed the file.
        with suppress(FileNotFoundError):
            times[path.name] = path.stat().st_mtime_ns
    return times


def partial_files(bench: Bench) -> dict[str, int]:
    """Modification times of partial checkpoints: being written, or left by a killed run."""
    return modification_times(bench, '.*.partial')
