"""Trainings on a stream of images, `lfi.WebDataset`."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.dist import get_world_size

from lfi.errors import UsageError
from lfi.utils.config_types import dataset_configs, type_name

STREAM = 'WebDataset'
SAMPLERS = ('DefaultSampler', 'InfiniteSampler')
"""Samplers that choose nothing, and so may be left out."""


def is_stream(cfg: Config) -> bool:
    """Whether a config trains on a stream."""
    return _stream_config(cfg) is not None


def _stream_config(cfg: Config) -> dict | None:
    datasets = dataset_configs((cfg.get('train_dataloader') or {}).get('dataset'))
    return next((dataset for dataset in datasets if type_name(dataset) == STREAM), None)


def set_stream(cfg: Config) -> None:
    """Fit the data loader and the hooks of a config to a stream; nothing for a config without one.

    Raises:
        UsageError: if the stream is inside another data set, the training counts epochs, a sampler chooses
            images, or there are fewer tar files than workers.
    """
    stream = _stream_config(cfg)
    if stream is None:
        return
    loader = cfg.train_dataloader
    if stream is not loader.dataset:
        raise UsageError(
            f'train_dataloader.dataset: a {type_name(loader.dataset)} holds a lfi.{STREAM}, which is a '
            f'stream without indices: use lfi.{STREAM} itself, without train_dataloader.few_labels'
        )
    train_cfg = cfg.train_cfg
    if train_cfg.get('by_epoch', True) and 'max_iters' not in train_cfg:
        raise UsageError(
            f'train_cfg={dict(train_cfg)}: a lfi.{STREAM} has no end, and so no epochs. Train by iterations: '
            'train_cfg=dict(_delete_=True, by_epoch=False, max_iters=N, val_interval=M), with by_epoch=False '
            'in param_scheduler, default_hooks.checkpoint and log_processor. An epoch of I images is '
            f'I / {loader.batch_size * get_world_size()} iterations'
        )
    _check_counts(cfg)
    kind = type_name(loader.get('sampler') or {'type': 'DefaultSampler'})
    if kind not in SAMPLERS:
        raise UsageError(
            f'train_dataloader.sampler: {kind} needs indices, which a lfi.{STREAM} has not: remove it'
        )
    # A stream shuffles itself, and PyTorch takes no sampler for it.
    loader.sampler = None
    loader.pop('batch_sampler', None)
    cfg.setdefault('log_processor', {})['by_epoch'] = False
    if stream.get('seed') is None:
        stream['seed'] = (cfg.get('randomness') or {}).get('seed') or 0
    stream['needs_labels'] = type_name(cfg.get('model') or {}) != 'Student'
    from lfi.datasets.tar_shards.web_dataset import check_shards, expand_urls

    places = max(1, loader.get('num_workers', 0)) * get_world_size()
    check_shards(len(expand_urls(stream['urls'])), places, stream.get('resampled', False))
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), {'type': 'lfi.StreamResumeHook'}]


def _check_counts(cfg: Config) -> None:
    """Check that schedules and checkpoints count iterations, and that no validation is on a stream.

    Raises:
        UsageError: if they count epochs, of which a stream has one: the whole training.
    """
    schedulers = cfg.get('param_scheduler') or ()
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {'by_epoch': False}
    parts = [
        ('param_scheduler', part) for part in ([schedulers] if isinstance(schedulers, dict) else schedulers)
    ]
    for name, part in (*parts, ('default_hooks.checkpoint', checkpoint)):
        if part.get('by_epoch', True):
            raise UsageError(
                f'{name} counts epochs, and a training on a lfi.{STREAM} is one epoch: set by_epoch=False, '
                'and write its begin, end and interval in iterations'
            )
    for name in ('val_dataloader', 'test_dataloader'):
        datasets = dataset_configs((cfg.get(name) or {}).get('dataset'))
        if any(type_name(dataset) == STREAM for dataset in datasets):
            raise UsageError(f'{name}: a lfi.{STREAM} has no end: validate and test on files')
