"""Disturb a real, tiny training by the faults that long runs meet, and write what happened.

    python tools/dev/inject_faults.py
    python tools/dev/inject_faults.py --only disk-full changed-checkpoint --tries 1

Where a run goes on after a fault, its weights must in the end equal an undisturbed run's, bit for bit. The
exit code is 1 if a fault was not survived.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fault_bench import (
    BATCH_SIZE,
    EPOCHS,
    NUM_IMAGES,
    PREPARED,
    ROOT,
    STEPS,
    Bench,
    NotSurvivedError,
    Run,
    checkpoint,
    require,
)
from hostile_files import BOMB, CONTRADICTORY, CRASHING, shorten_storage, write_hostile
from lfi.datasets import Shapes
from lfi.engine import CheckpointError, launch
from lfi.engine.checkpoint import load_from_local
from lfi.engine.machine import machine
from lfi.errors import UsageError
from lfi.models.teachers.weights import EMBEDDED
from PIL import Image
from safetensors.torch import load_file, save_file

REPORT = ROOT / 'docs' / 'reliability.md'
INTRODUCTION = """# Reliability

What LFI does when a run is killed, the disk is full, or a file is truncated, corrupted or hostile.
`python tools/dev/inject_faults.py` writes this page: it disturbs a training of {epochs} epochs of {steps}
steps on embedded Shapes (`tools/train.py`, two blocks, the embedded teacher, a checkpoint each epoch).
Where a run goes on by `--resume`, its final weights equalled those of an undisturbed run bit for bit.
A killed run is killed again after it resumes, until it is done; `max_keep_ckpts` is 1 and 3 in turn.

Checkpoints are read by torch's restricted unpickler. The names of numpy and mmengine that a Runner's state
needs stand for guards, which take only what a Runner writes: see `lfi.engine.checkpoint_globals`. A hostile
file can still exhaust memory, time or the stack, and so end its process, for example by tuples of tuples as
the key of a dict: read files of strangers in a process of their own. The import of `lfi` alone changes
nothing in how other tools read checkpoints: [configs.md](configs.md#checkpoints-in-other-projects-tools) says
how they ask for it.

{machine}; {kills} kills, seed {seed}, {minutes:.0f} minutes.
"""
HEADER = '| fault | how it was made | times tried | effect | lost |\n| --- | --- | --- | --- | --- |'
RESUMED = ('--work-dir', 'work', '--resume')


@dataclass(frozen=True)
class Row:
    """A row of the report."""

    fault: str
    made: str
    tried: int
    happened: str
    lost: str = 'nothing'

    def __str__(self) -> str:
        return f'| {self.fault} | {self.made} | {self.tried} | {self.happened} | {self.lost} |'


# --- Kills.


class Kill:
    """`kill -9` at one kind of moment.

    Args:
        made: the moment, in words.
        wait: lets a run come to it; whether it did before its end.
    """

    def __init__(self, made: str, wait: Callable[[Bench, Run], bool]) -> None:
        self.made, self._wait = made, wait
        self.times = self.truncated = self.repeated = 0

    def strike(self, bench: Bench, run: Run) -> bool:
        """Kill a run; False if it ended before."""
        if not run.wait_for(lambda: run.iterations):
            return False
        before = partial_files(bench)
        if not self._wait(bench, run):
            return False
        run.kill()
        if run.process.exitcode == 0:
            return False
        self.times += 1
        self.truncated += not partial_files(bench).items() <= before.items()
        return True

    def row(self) -> Row:
        return Row(
            '`kill -9`',
            self.made,
            self.times,
            f'`--resume` goes on; {self.truncated} files were being written; `last_checkpoint` named none of '
            'them',
            f'at most {self.repeated} iterations, done again ({STEPS} an epoch)',
        )


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


def at_any_time(bench: Bench, run: Run) -> bool:
    return run.sleep(bench.random.uniform(0, 3) * bench.epoch_seconds)


def in_the_writing(bench: Bench, run: Run) -> bool:
    return at_any_time(bench, run) and next_change(bench, run, '.*.partial')


def after_the_writing(bench: Bench, run: Run) -> bool:
    return at_any_time(bench, run) and next_change(bench, run, '*.pth')


def next_change(bench: Bench, run: Run, pattern: str) -> bool:
    before = times(bench, pattern)
    return run.wait_for(lambda: times(bench, pattern) != before)


def kills(bench: Bench) -> Iterator[Row]:
    """One run after another, each killed and resumed until it is done."""
    moments = [
        Kill('at a random time', at_any_time),
        Kill('when the file of a checkpoint appears', in_the_writing),
        Kill('when that file has got its name', after_the_writing),
    ]
    done = chains = killed_at = missed = 0
    last = None
    bench.clear()
    while done < bench.kills or last is not None:
        # The harder case: there is no older checkpoint to fall back upon.
        keep = 3 if chains % 2 else 1
        run = bench.start(*RESUMED, options=(f'default_hooks.checkpoint.max_keep_ckpts={keep}',))
        moment = moments[done % len(moments)]
        struck = done < bench.kills and moment.strike(bench, run)
        if not struck:
            require(run.end() == 0, f'a resumed run failed: {run.output[-600:]}')
        if last is not None:
            repeated = killed_at - run.resumed_at
            require(repeated <= STEPS, f'{repeated} iterations were lost ({last.made})')
            last.repeated = max(last.repeated, repeated)
        if struck:
            require_named_is_complete(bench.work)
            done, killed_at, missed, last = done + 1, run.iterations, 0, moment
        else:
            bench.require_reference(EPOCHS)
            bench.clear()
            chains, missed, last = chains + 1, missed + 1, None
            require(missed < 4, f'no run comes to the moment ({moment.made})')
    yield from (moment.row() for moment in moments if moment.times)


def require_named_is_complete(work: Path) -> None:
    pointer = work / 'last_checkpoint'
    named = pointer.read_text() if pointer.exists() else ''
    if named and Path(named).exists():
        try:
            load_from_local(named)
        except CheckpointError as error:
            raise NotSurvivedError(f'last_checkpoint names a corrupted file: {error}') from error


def killed_worker(bench: Bench) -> Iterator[Row]:
    workers = ('train_dataloader.num_workers=1', 'val_dataloader.num_workers=1')
    for _ in range(bench.tries):
        bench.clear()
        run = bench.start('--work-dir', 'work', options=workers)
        require(run.wait_for(lambda run=run: run.iterations > STEPS), 'the run ended before its worker')
        require(run.sleep(bench.random.uniform(0, 2) * bench.epoch_seconds), 'the run was too fast')
        children = Path(f'/proc/{run.process.pid}/task/{run.process.pid}/children').read_text().split()
        os.kill(int(bench.random.choice(children)), 9)
        require(run.end() == 1, 'the run did not end by its worker')
        error = re.search(r'RuntimeError: (DataLoader worker.*?)\.', run.output)
        require(error, f'the worker is not named: {run.output[-600:]}')
        bench.go_on(EPOCHS)
    said = re.sub(r'\d+', 'N', error.group(1))
    yield Row(
        'a worker of the data loader dies',
        '`kill -9` of a random one at a random time',
        bench.tries,
        f'the run ends: "{said}"; `--resume` goes on',
        'less than an epoch, done again',
    )


# --- Checkpoints.


@contextmanager
def small_disk(bench: Bench) -> Iterator[None]:
    """A disk of its own for the work dir, with checkpoints on it, and no room for another."""
    size = checkpoint(bench.reference, PREPARED).stat().st_size
    bench.clear()
    bench.work.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', f'size={8 * size}', 'tmpfs', str(bench.work)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        bench.fill()
        free = os.statvfs(bench.work)
        (bench.work / 'ballast').write_bytes(bytes(free.f_bavail * free.f_bsize - size // 2))
        yield
    finally:
        subprocess.run(['umount', str(bench.work)], check=True)


def disk_full(bench: Bench) -> Iterator[Row]:
    with TemporaryDirectory() as probe:
        mount = ['mount', '-t', 'tmpfs', 'tmpfs', probe]
        may_mount = shutil.which('mount') and not subprocess.run(mount, capture_output=True).returncode
        if may_mount:
            subprocess.run(['umount', probe], check=True)
    yield from (disk_full_by_tmpfs if may_mount else disk_full_by_limit)(bench)


def disk_full_by_tmpfs(bench: Bench) -> Iterator[Row]:
    for _ in range(bench.tries):
        with small_disk(bench):
            error = refuse_to_save(bench)
            (bench.work / 'ballast').unlink()
            bench.go_on()
    yield disk_full_row('a tmpfs, filled up', bench.tries, error)


def disk_full_by_limit(bench: Bench) -> Iterator[Row]:
    for _ in range(bench.tries):
        newest = bench.prepare()
        error = refuse_to_save(bench, file_limit=newest.stat().st_size // 2)
        bench.go_on()
    yield disk_full_row('`RLIMIT_FSIZE` below the size of a checkpoint', bench.tries, error)


def refuse_to_save(bench: Bench, **settings) -> str:
    error = bench.refuse(*RESUMED, **settings)
    require('epoch_4.pth' in error and 'cannot be written' in error, f'the error is unclear: {error}')
    require(not partial_files(bench), 'a part of a checkpoint was left')
    bench.require_reference(PREPARED)
    return error


def disk_full_row(made: str, tried: int, error: str) -> Row:
    said = re.sub(r'\([\d.]+ MB\)', '(N MB)', error)
    return Row(
        'no room for a checkpoint',
        made,
        tried,
        f'the run ends: "{said}"; with room again, `--resume` goes on',
        'the epoch that could not be saved, done again',
    )


def truncated_checkpoint(bench: Bench) -> Iterator[Row]:
    def damage(path: Path) -> None:
        os.truncate(path, int(bench.random.random() * path.stat().st_size))

    fall_back(bench, damage)
    yield fall_back_row('the newest checkpoint is truncated', 'at a random byte', bench.tries)


def changed_checkpoint(bench: Bench) -> Iterator[Row]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        # More than the padding between two records, which holds nothing.
        start = bench.random.randrange(len(content) - 100)
        content[start : start + 100] = (byte ^ 0xFF for byte in content[start : start + 100])
        path.write_bytes(content)

    fall_back(bench, damage)
    yield fall_back_row(
        'bytes of the newest checkpoint change', '100 bytes inverted from a random one on', bench.tries
    )


def fall_back(bench: Bench, damage: Callable[[Path], None]) -> None:
    """Damage the newest checkpoint: the one before must be used."""
    for _ in range(bench.tries):
        damage(bench.prepare())
        output = bench.go_on()
        for said in ('work/epoch_3.pth is corrupted', 'Resuming from work/epoch_2.pth instead'):
            require(said in output, f'the log does not say {said!r}')


def fall_back_row(fault: str, made: str, tried: int) -> Row:
    happened = '`--resume` warns, names the file, and goes on from the one before'
    return Row(fault, made, tried, happened, 'the epoch of the damaged file, done again')


class MakeFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


def malicious_checkpoint(bench: Bench) -> Iterator[Row]:
    mark, file = bench.folder / 'mark', bench.folder / 'malicious.pth'
    content = load_from_local(str(checkpoint(bench.reference, PREPARED)))
    torch.save({**content, 'payload': MakeFolder(mark)}, file)
    # An unsafe reader runs it.
    torch.load(file, weights_only=False)
    mark.rmdir()

    new, pretrained = ('--work-dir', 'work'), 'model.backbone.init_cfg'
    ways = {
        '`--resume FILE`': dict(arguments=('--resume', file)),
        '`--resume`, named by `last_checkpoint`': dict(arguments=('--resume',)),
        '`load_from`': dict(options=(f'load_from={file}',)),
        "`init_cfg=dict(type='Pretrained')`": dict(
            options=(f'{pretrained}.type=Pretrained', f'{pretrained}.checkpoint={file}')
        ),
        '`tools/test.py`': dict(tool='test.py', arguments=(file,)),
    }
    shutil.copy(file, bench.prepare())
    for way, settings in ways.items():
        error = bench.refuse(*settings.pop('arguments', ()), *new, **settings)
        require('was refused, and no code of it was run' in error, f'the error is unclear: {error}')
        require(not mark.exists(), 'the code was run')
        yield Row(
            'a checkpoint that runs code when it is unpickled',
            way,
            1,
            'refused by one line that names the file and the function; its code was not run',
        )


def hostile_checkpoint(bench: Bench) -> Iterator[Row]:
    file = bench.folder / 'hostile.pth'
    content = load_from_local(str(checkpoint(bench.reference, PREPARED)))
    for name in CRASHING:
        write_hostile(file, name, content)
        require(bench.exit_code_of(torch.load, file, weights_only=False), 'the file is harmless')
        bench.clear()
        error = bench.refuse('--work-dir', 'work', '--resume', file)
        require('was refused, and no code of it was run' in error, f'the error is unclear: {error}')
        yield Row(
            'a checkpoint that crashes its reader without any code',
            f'{name}, `--resume FILE`',
            1,
            'refused by one line that names the file and what it asks for; no foreign memory was read',
        )
    for name in CONTRADICTORY:
        write_hostile(file, name, content)
        yield refuse_contradictory(bench, file, name)
    shorten_storage(checkpoint(bench.reference, PREPARED), file)
    yield refuse_contradictory(bench, file, 'a storage smaller than its tensor, with its checksum')
    write_hostile(bench.prepare(), BOMB, content)
    bench.go_on()
    happened = 'each tuple is visited once; `--resume` goes on'
    yield Row('a checkpoint that holds up its reader', f'{BOMB}, `--resume`', 1, happened)


def refuse_contradictory(bench: Bench, file: Path, name: str) -> Row:
    bench.clear()
    error = bench.refuse('--work-dir', 'work', '--resume', file)
    require('is truncated or corrupted' in error, f'the error is unclear: {error}')
    happened = 'refused by one line that names the file and the contradiction'
    return Row('a checkpoint that contradicts itself', f'{name}, `--resume FILE`', 1, happened)


# --- Images.


def write_images(bench: Bench) -> list[Path]:
    """Shapes as JPEG files in the layout of Tiny-ImageNet."""
    root = bench.folder / 'images'
    shutil.rmtree(root, ignore_errors=True)
    data = Shapes('train', NUM_IMAGES)
    names = data.class_names()
    paths, boxes = [], {name: [] for name in names}
    for i in range(NUM_IMAGES):
        info = data.get_data_info(i)
        name = names[info['gt_label']]
        path = root / 'train' / name / 'images' / f'{i:03}.JPEG'
        path.parent.mkdir(parents=True, exist_ok=True)
        # BGR.
        Image.fromarray(info['img'][..., ::-1]).save(path)
        boxes[name].append('\t'.join([path.name, *(str(int(x)) for x in info['gt_bboxes'][0])]))
        paths.append(path)
    for name, lines in boxes.items():
        (root / 'train' / name / f'{name}_boxes.txt').write_text('\n'.join(lines))
    (root / 'wnids.txt').write_text('\n'.join(names))
    (root / 'words.txt').write_text('\n'.join(f'{name}\t{name}' for name in names))
    return paths


def unreadable_images(bench: Bench) -> Iterator[Row]:
    paths = write_images(bench)
    short, empty, text = bad = bench.random.sample(paths, 3)
    os.truncate(short, short.stat().st_size // 2)
    empty.write_bytes(b'')
    text.write_text('not an image')
    made = 'one file truncated, one empty, one of text'
    new, one_epoch = ('--work-dir', 'work'), 'train_cfg.max_epochs=1'
    skip = 'train_dataloader.dataset.skip_bad_images=True'

    bench.clear()
    output = bench.run(*new, code=1, config='files.py', options=(one_epoch,))
    error = output.splitlines()[-1]
    require('skip_bad_images=True' in error and any(path.name in error for path in bad), f'unclear: {error}')
    yield Row(
        'unreadable images',
        made,
        1,
        'the run ends at the first, and names the file and the option `skip_bad_images`',
        'the epoch so far',
    )

    bench.clear()
    output = bench.run(*new, config='files.py', options=(one_epoch, skip))
    for path in bad:
        lines = [line for line in output.splitlines() if path.name in line and 'cannot be read' in line]
        require(len(lines) == 1, f'{path.name} is named {len(lines)} times')
    require('skipped, 3 bad so far' in output, 'they are not counted')
    yield Row(
        'unreadable images, `skip_bad_images=True`',
        made,
        1,
        'another image is drawn for each; each file is named once, and counted',
        'these images',
    )

    for path in paths:
        path.write_bytes(b'')
    bench.clear()
    error = bench.run(*new, code=1, config='files.py', options=(one_epoch, skip)).splitlines()[-1]
    said = f'none of the {NUM_IMAGES} images can be read'
    require(said in error, f'the error is unclear: {error}')
    yield Row(
        'unreadable images, `skip_bad_images=True`', 'all files are empty', 1, f'the run ends: "{said}"'
    )


# --- NaN.


def nan_images(bench: Bench) -> Iterator[Row]:
    # As DefaultSampler draws them in the first epoch, with seed 0.
    order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(0)).tolist()
    first, second, third = order[::BATCH_SIZE]
    made = 'an image of NaN pixels in the batch'
    new = ('--work-dir', 'work')

    bench.clear()
    error = bench.refuse(*new, POISONED=str(second))
    for part in ('loss', ' is nan at epoch 1, iteration 2', f'/{second}'):
        require(part in error, f'the error lacks {part!r}: {error}')
    terms = error.split(' at epoch')[0]
    yield Row(
        'NaN in a batch',
        made,
        1,
        f'the run ends: "{terms} at epoch 1, iteration 2", and the images named',
        'the epoch so far',
    )

    skip = 'default_hooks.non_finite.max_skips=1'
    bench.clear()
    output = bench.run(*new, options=(skip, 'train_cfg.max_epochs=3'), POISONED=str(second))
    require('3 updates were skipped because of NaN' in output, 'the updates are not counted')
    state = load_from_local(str(checkpoint(bench.work, 3)))
    require(all(value.isfinite().all() for value in state['state_dict'].values()), 'a weight is NaN')
    yield Row(
        'NaN in a batch, `non_finite.max_skips=1`',
        f'{made}, three epochs',
        1,
        'each such update is skipped, named and counted; all weights stay finite',
        'these updates',
    )

    bench.clear()
    error = bench.refuse(*new, options=(skip,), POISONED=f'{second} {third}')
    require('one more in a row than max_skips=1' in error, f'the error is unclear: {error}')
    yield Row(
        'NaN in a batch, `non_finite.max_skips=1`',
        'in two batches in a row',
        1,
        'the run ends, and says that there is one more in a row than allowed',
        'the epoch so far',
    )

    bench.clear()
    error = bench.run(*new, code=1, options=(skip,), POISONED=str(first)).splitlines()[-1]
    said = 'logits hold a non-finite value'
    require(said in error and f'/{first}' in error, f'the error is unclear: {error}')
    yield Row(
        'NaN in the very first batch, whatever `max_skips`',
        made,
        1,
        f'the run ends by the first check of the teacher\'s maps: "{said}", and names the images',
    )


# --- The teacher and its cache.


def teacher_cache(bench: Bench) -> Iterator[Row]:
    teacher, cache = bench.folder / 'teacher', bench.folder / 'cache'
    for folder in (teacher, cache):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(EMBEDDED / 'shapes-tiny', teacher)
    ours = 'model.teacher.model=teacher'
    cached = (ours, 'model.teacher_cache=cache')
    write = ('--out', 'cache', '--num-workers', '0')

    def refuse(fault: str, made: str, said: str, *options: str) -> Row:
        bench.clear()
        error = bench.refuse('--work-dir', 'work', options=(*cached, *options))
        require(re.search(said, error), f'the error lacks {said!r}: {error}')
        sentence = re.sub(r'\b[0-9a-f]{32}\b', '…', error).split('. ')[0]
        return Row(fault, made, 1, f'training is refused: "{sentence}"')

    bench.run(*write, tool='cache_teacher.py', options=(ours,))
    bench.clear()
    bench.run('--work-dir', 'work', options=(*cached, 'train_cfg.max_epochs=1'))
    complete = shutil.copytree(cache, bench.folder / 'complete cache', dirs_exist_ok=True)

    weights = teacher / 'model.safetensors'
    kept = weights.read_bytes()
    tensors = load_file(weights)
    next(iter(tensors.values())).flatten()[0] += 1
    save_file(tensors, weights)
    yield refuse("the teacher's weights change under a cache", 'one number of the file', 'teacher.weights is')
    weights.write_bytes(kept)

    foreign = "another teacher's cache"
    yield refuse(foreign, 'other `max_concepts`', 'teacher.max_concepts is', 'model.teacher.max_concepts=3')
    other_data = 'train_dataloader.dataset.seed=1'
    yield refuse('a cache of other images', 'another seed of Shapes', 'cache has no maps of', other_data)

    def restore() -> None:
        shutil.copytree(complete, cache, dirs_exist_ok=True)

    damaged = 'shard-00000.npy is corrupted or was changed'
    shard = cache / 'shard-00000.npy'
    os.truncate(shard, int(bench.random.random() * shard.stat().st_size))
    yield refuse('a truncated cache', 'a shard is truncated', damaged)
    restore()
    content = bytearray(shard.read_bytes())
    content[bench.random.randrange(len(content))] ^= 0xFF
    shard.write_bytes(content)
    yield refuse('a corrupted cache', 'one byte of a shard', damaged)
    restore()
    shard.with_suffix('.blake2b').unlink()
    yield refuse('an unfinished cache', 'a shard without its checksum', 'cache is unfinished')
    restore()
    manifest = cache / 'manifest.json'
    os.truncate(manifest, manifest.stat().st_size // 2)
    yield refuse('a truncated manifest', 'half of it', 'manifest.json is corrupted')


FAULTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    'kills': kills,
    'killed-worker': killed_worker,
    'disk-full': disk_full,
    'truncated-checkpoint': truncated_checkpoint,
    'changed-checkpoint': changed_checkpoint,
    'malicious-checkpoint': malicious_checkpoint,
    'hostile-checkpoint': hostile_checkpoint,
    'unreadable-images': unreadable_images,
    'nan-images': nan_images,
    'teacher-cache': teacher_cache,
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--kills', type=int, default=30, help='how often a run is killed (%(default)s)')
    parser.add_argument(
        '--tries', type=int, default=3, help='of a fault whose byte or time is drawn at random (%(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of what is drawn (%(default)s)')
    parser.add_argument('--only', nargs='+', choices=FAULTS, help='not all of the faults')
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='the report (docs/reliability.md; with --only: none)'
    )
    args = parser.parse_args()
    for name in ('kills', 'tries'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    return args


def main() -> None:
    args = parse_args()
    # On a GPU sums come in another order each time.
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    out = args.out or (None if args.only else REPORT)
    start, rows, failed = time.monotonic(), [], []
    print(HEADER, flush=True)
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder).resolve(), args.kills, args.tries, args.seed)
        for name in args.only or FAULTS:
            try:
                for row in FAULTS[name](bench):
                    rows.append(row)
                    print(row, flush=True)
            except NotSurvivedError as error:
                failed.append(f'{name}: {error}')
                print(f'{name} was not survived: {error}', file=sys.stderr, flush=True)
    if failed:
        raise UsageError(f'{len(failed)} faults were not survived, no report is written')
    if out is not None:
        introduction = INTRODUCTION.format(
            epochs=EPOCHS,
            steps=STEPS,
            machine=machine(),
            kills=args.kills,
            seed=args.seed,
            minutes=(time.monotonic() - start) / 60,
        )
        out.write_text('\n'.join([introduction, HEADER, *map(str, rows), '']))


if __name__ == '__main__':
    launch.run(main)
