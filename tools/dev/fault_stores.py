"""Faults of writers and trainings on tar shards in an object store: kills, and a store that fails."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
from fault_bench import ROOT, Bench, Run, require
from fault_row import Row
from lfi.datasets import Shapes
from lfi.utils.stores import join, list_files, local_path, remove_file, write_file
from s3_store import BUCKET, FaultyProxy, environment, s3_server

TARS, IMAGES, WRITERS = 12, 24, 2
NAMES = [f'train-{tar}' for tar in range(TARS)]
URLS = f'train-{{0..{TARS - 1}}}.tar'
# `SHAPES_CONFIG` of the bench on tar shards.
TARS_CONFIG = """
_base_ = 'shapes.py'
train_dataloader = dict(
    persistent_workers=False,
    sampler=None,
    dataset=dict(
        _delete_=True,
        type='lfi.WebDataset',
        urls='data/train-{0..11}.tar',
        pipeline=[dict(type='LoadImageFromFile'), *_base_.transforms, _base_.pack],
    ),
)
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=200, val_interval=1000)
param_scheduler = []
val_dataloader = None
val_evaluator = None
val_cfg = None
log_processor = dict(by_epoch=False)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=20), logger=dict(interval=10))
"""
PROXY_FAULTS = (
    ('500', 'GET', '.tar'),
    ('503', 'HEAD', '.tar'),
    ('503', 'PUT', '.safetensors'),
    ('500', 'PUT', '.safetensors'),
    ('reset', 'GET', '.tar'),
    ('reset', 'PUT', '.safetensors'),
    ('truncated', 'GET', '.tar'),
    ('shorter', 'GET', '.tar'),
    ('slow', 'GET', '.tar'),
    ('stall', 'GET', '.tar'),
    ('skew', 'GET', '.tar'),
)
"""Faults, each with the method and a part of the path of the request."""
LASTING_ERRORS = ('403', '507')
"""Answers to all PUTs: refused, and full."""
STALE_LISTINGS = 2


def write_tars(folder: Path) -> None:
    """Write tar shards of Shapes with labels."""
    folder.mkdir(exist_ok=True)
    data = Shapes('train', num_images=TARS * IMAGES)
    for number, name in enumerate(NAMES):
        with tarfile.open(folder / f'{name}.tar', 'w') as tar:
            for image in range(IMAGES):
                info = data.get_data_info(number * IMAGES + image)
                members = {
                    'png': cv2.imencode('.png', info['img'])[1].tobytes(),
                    'cls': str(int(info['gt_label'])).encode(),
                }
                for suffix, content in members.items():
                    member = tarfile.TarInfo(f'{image:03}.{suffix}')
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def contents(folder: str) -> dict[str, bytes]:
    """Return the contents of the files of a cache."""
    return {name: local_path(join(folder, name)).read_bytes() for name in list_files(folder)}


class Caching:
    """Cache that processes write, and the bytes that it must have.

    Args:
        bench: bench of the processes.
        urls: tar shards.
        out: folder or address of the cache.
        expected: content of each file.
    """

    def __init__(self, bench: Bench, urls: str, out: str, expected: dict[str, bytes]) -> None:
        self.bench, self.urls, self.out, self.expected = bench, urls, out, expected

    def start(self, rank: int, world: int = WRITERS) -> Run:
        """Start a writer."""
        place = ('--shards', self.urls, '--out', self.out, '--rank', rank, '--world', world)
        return self.bench.start(*place, '--num-workers', 0, command='cache', config='tars.py')

    def finish(self) -> None:
        """Run all writers to their end, and compare all bytes."""
        for rank in range(WRITERS):
            run = self.start(rank)
            require(run.end() == 0, f'a writer failed: {run.output[-600:]}')
        self.require_expected()

    def require_expected(self) -> None:
        """Compare all bytes."""
        found = contents(self.out)
        require(found.keys() == self.expected.keys(), f'the cache has the files {sorted(found)}')
        wrong = [name for name, content in found.items() if content != self.expected[name]]
        require(not wrong, f'{wrong} differ from those of an undisturbed writer')

    def empty(self) -> None:
        """Remove all files."""
        for name in list_files(self.out):
            remove_file(join(self.out, name))


def stores(bench: Bench) -> Iterator[Row]:
    """Kill writers, let the store fail, and train from it."""
    (bench.folder / 'tars.py').write_text(TARS_CONFIG)
    write_tars(bench.folder / 'data')
    os.environ['LFI_COPIES'] = str(bench.folder / 'copies')
    local = Caching(bench, str(bench.folder / 'data' / URLS), str(bench.folder / 'whole'), {})
    run = local.start(0, 1)
    require(run.end() == 0, f'the writer failed: {run.output[-600:]}')
    expected = contents(local.out)
    require(len(expected) == TARS + 2, f'the cache has the files {sorted(expected)}')
    with s3_server() as port:
        for name in NAMES:
            write_file(f's3://{BUCKET}/data/{name}.tar', (bench.folder / f'data/{name}.tar').read_bytes())
        in_store = f's3://{BUCKET}/data/{URLS}'
        folder = str(bench.folder / 'killed')
        yield kill_writers(Caching(bench, local.urls, folder, expected), 'a local folder')
        yield kill_writers(Caching(bench, in_store, f's3://{BUCKET}/killed', expected), "moto's S3 server")
        yield faulty_store(Caching(bench, in_store, f's3://{BUCKET}/faulty', expected), port)
        yield lost_node(Caching(bench, in_store, f's3://{BUCKET}/ray', expected))
        yield killed_training(bench, in_store, f's3://{BUCKET}/killed')


def kill_writers(caching: Caching, place: str) -> Row:
    """Kill one of two writers at a random time, again and again."""
    bench = caching.bench
    kills = finished = 0
    seconds = writer_seconds(caching)
    caching.empty()
    while kills < bench.kills:
        runs = [caching.start(rank) for rank in range(WRITERS)]
        victim = bench.random.randrange(WRITERS)
        if runs[victim].sleep(bench.random.uniform(0.1, 1.0) * seconds):
            runs[victim].kill()
            kills += runs[victim].process.exitcode != 0
            # As a scheduler does; the other one may wait for the manifest.
            runs[victim] = caching.start(victim)
        for run in runs:
            require(run.end() == 0, f'a writer failed: {run.output[-600:]}')
        caching.require_expected()
        if kills < bench.kills:
            caching.empty()
        finished += 1
    return Row(
        '`kill -9` of a writer of a cache',
        f'one of {WRITERS} processes, at a random time, in {place}',
        kills,
        'the same command writes what is missing; '
        f'{finished} caches, some after no kill, equal an undisturbed one',
        'the shard in work',
    )


def writer_seconds(caching: Caching) -> float:
    """Return the seconds of an undisturbed writer."""
    start = time.monotonic()
    run = caching.start(0)
    require(run.end() == 0, f'a writer failed: {run.output[-600:]}')
    return time.monotonic() - start


def faulty_store(caching: Caching, port: int) -> Row:
    """Write a cache through a proxy that injects each fault, and read it again through the same faults."""
    proxy = FaultyProxy(port)
    proxy.stall_seconds = 20.0
    # Nothing has been copied yet.
    os.environ['LFI_COPIES'] = str(caching.bench.folder / 'other_copies')
    try:
        with environment(proxy.port):
            for fault in PROXY_FAULTS:
                proxy.inject(*fault)
            caching.finish()
            injected = len(proxy.injected)
            require(injected == len(PROXY_FAULTS), f'only {injected} faults were met')
            for code in LASTING_ERRORS:
                proxy.inject(code, 'PUT', '.safetensors', 99)
                remove_file(join(caching.out, 'train-0.safetensors'))
                run = caching.start(0)
                require(run.end() == 1 and 'Traceback' not in run.output, f'{code}: {run.output[-600:]}')
                proxy.faults.clear()
                caching.finish()
            # The first listings were those of an empty folder.
            proxy.inject('stale', 'GET', 'list-type', STALE_LISTINGS)
            caching.finish()
            require(not proxy.faults, 'too few listings were asked for')
    finally:
        proxy.close()
    kinds = ', '.join(f'{kind} of a {method}' for kind, method, _ in PROXY_FAULTS)
    errors = ' and '.join(LASTING_ERRORS)
    return Row(
        'a store that fails',
        f'a proxy before the server: {kinds}, {errors} of all PUTs, stale listings',
        injected + len(LASTING_ERRORS) + 1,
        f'requests are repeated; {errors} end the run with one line; a stale listing costs work; '
        'the cache equals an undisturbed one byte by byte',
    )


def lost_node(caching: Caching) -> Row:
    """Kill one of two nodes of a Ray cluster while they write."""
    from ray.cluster_utils import Cluster

    bench = caching.bench
    cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=0))
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        command = ['cache', 'tars.py', '--shards', caching.urls, '--out', caching.out, '--num-workers', '0']
        log = bench.folder / 'ray.txt'
        with log.open('w') as file:
            process = subprocess.Popen(
                [sys.executable, '-m', 'lfi', *command, '--ray', cluster.address],
                cwd=bench.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment_of(bench),
            )
        end = time.monotonic() + 300
        while len(list_files(caching.out)) < 4 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)
        done = len(list_files(caching.out)) - 2
        require(process.wait(300) == 0, f'the job failed: {log.read_text()[-600:]}')
    finally:
        cluster.shutdown()
    caching.require_expected()
    return Row(
        'a node of a Ray cluster is lost',
        f'one of two workers is killed after {done} of {TARS} shards',
        1,
        'the other one finishes; the cache equals an undisturbed one byte by byte',
        'the shard in work',
    )


def killed_training(bench: Bench, urls: str, cache: str) -> Row:
    """Train by two processes from a store, and kill one of them."""
    options = [f'train_dataloader.dataset.urls={urls}', f'model.teacher.cache={cache}']
    log = bench.folder / 'training.txt'
    command = ['tars.py', '2', '--work-dir', 'stream', '--cfg-options', *options]
    port = 29500 + bench.random.randrange(400)
    with log.open('w') as file:
        process = subprocess.Popen(
            ['bash', str(ROOT / 'tools/dist_train.sh'), *command],
            cwd=bench.folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**environment_of(bench), 'MAX_RESTARTS': '1', 'PORT': str(port), 'PYTHON': sys.executable},
        )
    memory: dict[int, int] = {}
    killed = False
    end = time.monotonic() + 600
    while process.poll() is None:
        require(time.monotonic() < end, f'the training hangs: {log.read_text()[-600:]}')
        time.sleep(0.2)
        steps = re.findall(r'Iter\(train\) \[ *(\d+)/200\]', log.read_text())
        step = int(steps[-1]) if steps else 0
        workers = training_processes(process.pid)
        if step >= 100 and not killed and len(workers) == 2:
            os.kill(workers[1], signal.SIGKILL)
            killed = True
        elif killed and workers:
            memory[step] = max(map(resident_bytes, workers))
    require(process.returncode == 0 and killed, f'the training failed: {log.read_text()[-600:]}')
    early, late = (max(value for step, value in memory.items() if a <= step <= b) for a, b in STEPS_OF_MEMORY)
    require(late <= 1.05 * early, f'memory grew from {early:,} to {late:,} bytes')
    return Row(
        'a process of a training from a store is killed',
        '`kill -9` of one of two processes (gloo, MAX_RESTARTS=1) after 100 of 200 steps',
        1,
        f'it goes on to step 200; a process has {early / 1e6:.0f} MB after 130 steps and {late / 1e6:.0f} MB '
        'at the end',
        'at most 20 steps, repeated',
    )


def environment_of(bench: Bench) -> dict[str, str]:
    """Return the environment of a process that finds the modules of the bench."""
    return {**os.environ, 'LFI_REPORT': '0', 'PYTHONPATH': os.pathsep.join([str(bench.folder), *sys.path])}


STEPS_OF_MEMORY = ((110, 150), (170, 200))
"""Steps at which memory is compared."""


def training_processes(parent: int) -> list[int]:
    """Return the processes of a launcher that run `tools/train.py`, without their workers."""
    found = children_of(parent)
    return [child for child in found if b'train.py' in Path(f'/proc/{child}/cmdline').read_bytes()]


def children_of(pid: int) -> Sequence[int]:
    """Return the children of a process; none if it has ended."""
    try:
        return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except FileNotFoundError:
        return []


def resident_bytes(pid: int) -> int:
    """Return the memory of a process; 0 if it has ended."""
    try:
        return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (FileNotFoundError, ProcessLookupError):
        return 0
