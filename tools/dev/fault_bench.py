"""A tiny training on built-in data that is there to be disturbed: run, killed, resumed, and compared."""

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
# Where most faults find the run: there are older checkpoints, and epochs to come.
PREPARED = 3
# Seconds; what takes longer on a busy machine hangs.
PATIENCE = 300
# Arguments of a run that goes on.
RESUMED = ('--work-dir', 'work', '--resume')
# Imported once: a run is a fork of this process, and starts in no time.
MODULES = (
    'lfi.datasets',
    'lfi.engine',
    'lfi.evaluation',
    'lfi.models',
    'lfi.cli.train',
    'lfi.visualization',
    'mmpretrain.apis',
    # mmengine's log of the environment imports it.
    'setuptools',
)

# No augmentation: a resumed run sees the very images that an undisturbed one sees.
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
# The same with images that are files, in `images`.
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
# What a broken decoder, or a division by 0 in a transform, would give.
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
    """A fault did what it must not do."""


def require(condition: object, otherwise: str) -> None:
    """Raise a `NotSurvivedError` unless a condition holds."""
    if not condition:
        raise NotSurvivedError(otherwise)


@dataclass(frozen=True)
class Run:
    """A command that runs in a process of its own, and the file that has what it prints."""

    process: multiprocessing.process.BaseProcess
    log: Path

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text(errors='replace')

    @property
    def iterations(self) -> int:
        """How many iterations it has logged, those before it was resumed among them."""
        logged = re.findall(r'Epoch\(train\)\s+\[(\d+)\]\[(\d+)/', self.output)
        return (int(logged[-1][0]) - 1) * STEPS + int(logged[-1][1]) if logged else 0

    @property
    def resumed_at(self) -> int:
        """From how many iterations it has gone on."""
        found = re.search(r'resumed epoch: \d+, iter: (\d+)', self.output)
        return int(found.group(1)) if found else 0

    def wait_for(self, condition: Callable[[], object]) -> bool:
        """Whether a condition comes to hold before the run ends."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self.process.is_alive():
                return False
            if time.monotonic() > deadline:
                self._give_up()
            time.sleep(0.0005)
        return True

    def _give_up(self) -> None:
        self.kill()
        raise NotSurvivedError(f'the run hangs: {self.output[-300:]}')

    def sleep(self, seconds: float) -> bool:
        """Let it run on; whether it still runs."""
        end = time.monotonic() + seconds
        return self.wait_for(lambda: time.monotonic() > end)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self._give_up()
        return self.process.exitcode


def run_in_folder(
    command: str, words: list[str], folder: Path, log: Path, variables: dict, file_limit: int
) -> None:
    """What a new process does: run a command of `lfi` in a folder, as from a shell."""
    file = os.open(log, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(variables)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.path.insert(0, str(folder))
    run_command(command, words)


class Bench:
    """A folder in which a training is disturbed.

    Args:
        folder: an empty one.
        kills: how often a run is to be killed.
        tries: how often faults are tried whose byte or time is drawn at random.
        seed: of what is drawn.

    Attributes:
        work: the work dir of the disturbed run.
        reference: that of an undisturbed one, with the checkpoints of all epochs.
        epoch_seconds: how long an undisturbed epoch took.
    """

    def __init__(self, folder: Path, kills: int, tries: int, seed: int) -> None:
        self.folder, self.kills, self.tries = folder, kills, tries
        self.work = folder / 'work'
        self.random = random.Random(seed)
        self._processes = multiprocessing.get_context('fork')
        for module in MODULES:
            import_module(module)
        # A fork has no other threads than the one that made it.
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
        """Begin to run a command.

        Args:
            *arguments: of the command, after the config.
            command: of `lfi`.
            config: in the folder.
            options: of `--cfg-options`.
            file_limit: the largest file that it may write, in bytes.
            **variables: of the environment.
        """
        words = [config, *map(str, arguments), *(['--cfg-options', *options] if options else [])]
        log = self.folder / 'log.txt'
        log.write_text('')
        process = self._processes.Process(
            target=run_in_folder, args=(command, words, self.folder, log, variables, file_limit)
        )
        process.start()
        return Run(process, log)

    def run(self, *arguments: object, code: int = 0, **settings) -> str:
        """Run a command to its end; what it printed, without the name of the folder.

        Raises:
            NotSurvivedError: if it ends with another exit code.
        """
        run = self.start(*arguments, **settings)
        found = run.end()
        require(found == code, f'exit code {found} in place of {code}: {run.output[-600:]}')
        return run.output.replace(f'{self.folder}/', '')

    def refuse(self, *arguments: object, **settings) -> str:
        """Run a command that must end with an error of one line; the error."""
        output = self.run(*arguments, code=1, **settings)
        errors = re.findall(r'^error: (.*)', output, re.MULTILINE)
        require(errors and 'Traceback' not in output, f'no error of one line: {output[-600:]}')
        return errors[-1]

    def exit_code_of(self, function: Callable, *args: object, **kwargs: object) -> int:
        """Call a function in a process of its own, in silence; the exit code."""

        def call() -> None:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 2)
            function(*args, **kwargs)

        process = self._processes.Process(target=call)
        process.start()
        process.join()
        return process.exitcode

    def clear(self) -> None:
        """Empty the work dir."""
        shutil.rmtree(self.work, ignore_errors=True)

    def prepare(self) -> Path:
        """Make the work dir that of a run which was stopped after three epochs; its newest checkpoint."""
        self.clear()
        self.work.mkdir()
        self.fill()
        return checkpoint(self.work, PREPARED)

    def fill(self) -> None:
        """Copy the checkpoints of three epochs into the work dir."""
        for epoch in range(1, PREPARED + 1):
            shutil.copy2(checkpoint(self.reference, epoch), self.work)
        (self.work / 'last_checkpoint').write_text(str(checkpoint(self.work, PREPARED)))

    def go_on(self, epochs: int = PREPARED + 1) -> str:
        """Resume until so many epochs are done, and compare with the undisturbed run; what was printed."""
        output = self.run('--work-dir', 'work', '--resume', options=(f'train_cfg.max_epochs={epochs}',))
        self.require_reference(epochs)
        return output

    def require_reference(self, epoch: int) -> None:
        """Compare an epoch's checkpoint with that of the undisturbed run, bit for bit."""
        theirs, ours = (load_from_local(str(checkpoint(work, epoch))) for work in (self.reference, self.work))
        for key in ('epoch', 'iter'):
            require(
                ours['meta'][key] == theirs['meta'][key], f'the checkpoint is of {key} {ours["meta"][key]}'
            )
        for name, value in theirs['state_dict'].items():
            require(torch.equal(ours['state_dict'][name], value), f'{name} differs from the undisturbed run')


def checkpoint(work: Path, epoch: int) -> Path:
    """The checkpoint of an epoch."""
    return work / f'epoch_{epoch}.pth'


def times(bench: Bench, pattern: str) -> dict[str, int]:
    """When files of the work dir were last changed, by their names."""
    found = {}
    for path in bench.work.glob(pattern):
        # It may be gone already.
        with suppress(FileNotFoundError):
            found[path.name] = path.stat().st_mtime_ns
    return found


def partial_files(bench: Bench) -> dict[str, int]:
    """The checkpoints that are being written, and those that were when a run was killed."""
    return times(bench, '.*.partial')
