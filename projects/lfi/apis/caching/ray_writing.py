"""Writing of the sidecars of tar shards by the workers of a Ray cluster."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections import Counter
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from tqdm import tqdm

from lfi.datasets.tar_shards.unreadable_samples import UnreadableSamples
from lfi.engine.streams import is_stream
from lfi.engine.watch_images import max_unreadable
from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheFolder
from lfi.structures.interaction_cache.sidecars import NAME_PARTS

from .sidecar_writing import (
    Share,
    TarJob,
    failure_message,
    note_failure,
    pending_tars,
    unreadable_list,
    write_sidecar,
)
from .writing import check_training_reads_cache, open_writer

MAX_LOSSES = 5
"""Times that a worker may be lost with one tar file before the file counts as failed."""
CONNECT_SECONDS = 10.0
TOKEN_HINT = (
    '. If it was started with a token, as by Ray 2.60, set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token '
    'from its head node'
)


def check_reachable(address: str) -> None:
    """Check that a machine answers at the address of a cluster, for which Ray itself waits for minutes.

    Raises:
        UsageError: if none does.
    """
    match = re.fullmatch(r'(?:ray://)?\[?([^/]+?)\]?:(\d+)', address)
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(f'--ray {address}: nothing answers there ({error}): is the head node up?') from error


class RayWriter:
    """Writer of sidecars in a worker of Ray, in the folder of the command if the worker's machine has it.

    The other arguments are those of `cache_teacher`.
    """

    def __init__(
        self, start: str, cfg: Config, folder: str, batch_size: int, num_workers: int, views: int
    ) -> None:
        if os.path.isdir(start):
            os.chdir(start)
        if cfg.get('custom_imports'):
            import_modules_from_strings(**cfg.custom_imports)
        init_default_scope(cfg.get('default_scope') or 'mmengine')
        # Ray limits what libraries use by default to one thread a worker.
        torch.set_num_threads(max(1, int(os.environ.get('OMP_NUM_THREADS', '1'))))
        self.job = TarJob(cfg, views)
        # The command has written the manifest.
        place = Share(1, 2)
        self.writer = open_writer(self.job, folder, 0, NAME_PARTS, self.job.first_maps(), place)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.unreadable = UnreadableSamples(max_unreadable(cfg), unreadable_list(folder), 'it gets no maps')

    def write(self, tar: str) -> None:
        """Write the sidecar of a tar file."""
        write_sidecar(self.job, self.writer, tar, self.batch_size, self.num_workers, self.unreadable)


def cache_teacher_by_ray(
    cfg: Config,
    folder: str,
    address: str,
    batch_size: int = 64,
    num_workers: int = 2,
    views: int = 1,
) -> CacheFolder:
    """Cache the teacher's maps of tar shards by a Ray cluster, one writer for each GPU, or else CPU.

    A tar file whose worker is lost is given to another one.

    Args:
        cfg: config of the training, on a `lfi.WebDataset`.
        folder: folder that all nodes share, or an address in a store.
        address: address of the cluster; 'auto' for the one of this machine, 'local' to start one.
        batch_size: images in a batch. Defaults to 64.
        num_workers: processes that load images for each writer. Defaults to 2.
        views: views of each image. Defaults to 1: the complete image.

    Raises:
        UsageError: if Ray is not installed, the cluster cannot be reached, the training has no tar shards,
            or tar files failed, after the others are written.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray: ray is not installed: pip install 'lfi[scale]'") from error
    check_training_reads_cache(cfg, folder, views)
    if not is_stream(cfg):
        raise UsageError('--ray: the training has no tar shards: train_dataloader needs a lfi.WebDataset')
    check_reachable(address)
    variables = {name: value for name, value in os.environ.items() if name.startswith('LFI_')}
    # For modules of `custom_imports`.
    variables['PYTHONPATH'] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        ray.init(
            None if address == 'local' else address,
            runtime_env={'env_vars': variables},
            log_to_driver=False,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = f'{error}'.rstrip('.') + ('' if address in ('auto', 'local') else TOKEN_HINT)
        raise UsageError(f'--ray {address}: the cluster cannot be reached: {reason}') from error
    try:
        job = TarJob(cfg, views)
        writer = open_writer(job, folder, 0, NAME_PARTS, job.first_maps())
        tars = job.tars
        pending = pending_tars(writer, tars)
        # It holds a teacher.
        del job
        arguments = (os.getcwd(), cfg, folder, batch_size, num_workers, views)
        with tqdm(total=len(tars), initial=len(tars) - len(pending), unit=' shards') as bar:
            failures = _write_all(ray, arguments, pending, bar)
    finally:
        ray.shutdown()
    failure = failure_message([f'{tar}: {reason}' for tar, reason in failures.items()])
    if failure is not None:
        raise UsageError(failure)
    return CacheFolder(folder)


def _write_all(ray: Any, arguments: tuple, pending: list[str], bar: tqdm) -> dict[str, str]:
    """Give tar files to the writers of a cluster, and return the reasons of those that failed."""
    queue, losses, failures = pending[::-1], Counter[str](), dict[str, str]()
    resources = ray.cluster_resources()
    by_gpu = resources.get('GPU', 0) >= 1
    places = int(resources.get('GPU' if by_gpu else 'CPU', 0))
    if places < 1:
        raise UsageError('--ray: the cluster has no GPU and no CPU for a writer')
    options = dict(num_gpus=1) if by_gpu else dict(num_cpus=1)
    writer_class = ray.remote(**options)(RayWriter)

    def fail(tar: str, reason: str) -> None:
        failures[tar] = reason
        note_failure(arguments[2], tar, reason)

    writing: dict[Any, tuple[Any, str]] = {}
    for _ in range(min(places, len(queue))):
        actor, tar = writer_class.remote(*arguments), queue.pop()
        writing[actor.write.remote(tar)] = (actor, tar)
    while writing:
        (finished,), _ = ray.wait(list(writing), num_returns=1)
        actor, tar = writing.pop(finished)
        try:
            ray.get(finished)
            bar.update()
        except ray.exceptions.RayActorError as error:
            losses[tar] += 1
            if error.actor_init_failed and losses[tar] == MAX_LOSSES:
                # Not the fault of one node.
                reason = ' '.join(str(error).split())[-500:]
                raise UsageError(f'--ray: workers cannot start: {reason}') from error
            if losses[tar] < MAX_LOSSES:
                bar.write(f'{tar}: its worker was lost; another one writes it', file=sys.stderr)
                queue.append(tar)
            else:
                fail(tar, f'its worker was lost {MAX_LOSSES} times ({_first_line(error)})')
            actor = writer_class.remote(*arguments)
        except ray.exceptions.RayTaskError as error:
            fail(tar, _first_line(error.cause))
        except ray.exceptions.RayError as error:
            fail(tar, _first_line(error))
            actor = writer_class.remote(*arguments)
        if queue:
            tar = queue.pop()
            writing[actor.write.remote(tar)] = (actor, tar)
        # Ray ends a writer without a name, and gives its place to one that waits after the loss of a node.
        del actor
    return failures


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type."""
    return next(iter(str(error).strip().splitlines()), '') or type(error).__name__
