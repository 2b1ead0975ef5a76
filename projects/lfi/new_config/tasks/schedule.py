"""Schedules of a training: one written in full, and a shorter or longer one of a model's own config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lfi.adaptation.source import Expression
from lfi.engine.max_epochs_option import EPOCH_OPTIONS, scaled_epochs
from lfi.new_config.settings import Settings, default_epochs
from lfi.utils.config_types import type_name

RATE = 5e-4
"""Learning rate at 32 images a step."""


def adamw_schedule(
    epochs: int, batch_size: int, num_images: int, learning_rate: float = RATE
) -> dict[str, Any]:
    """Return the variables of AdamW with a warm-up and a cosine.

    The fused AdamW shortens the step of a small CNN on a CPU by a tenth (research/decisions.md).

    Args:
        epochs: number of epochs.
        batch_size: images of a step; the learning rate grows with its root.
        num_images: images of an epoch; the warm-up takes 5 % of all steps, at least 2 and at most 500.
        learning_rate: learning rate at 32 images a step. Defaults to `RATE`.
    """
    # MMEngine (0.10) never leaves the first rate of a warm-up of one step.
    warmup = min(500, max(2, epochs * num_images // batch_size // 20))
    rate = float(f'{learning_rate * (batch_size / 32) ** 0.5:.2g}')
    return {
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': rate, 'weight_decay': 0.05, 'fused': True},
            'paramwise_cfg': {'norm_decay_mult': 0.0, 'bias_decay_mult': 0.0, 'flat_decay_mult': 0.0},
            'clip_grad': {'max_norm': 1.0},
        },
        'max_epochs': epochs,
        'param_scheduler': [
            {'type': 'LinearLR', 'start_factor': 0.01, 'by_epoch': False, 'end': warmup},
            {
                'type': 'CosineAnnealingLR',
                'eta_min': 1e-5,
                'by_epoch': True,
                'end': Expression('max_epochs'),
                'convert_to_iter_based': True,
            },
        ],
        'train_cfg': {'by_epoch': True, 'max_epochs': Expression('max_epochs'), 'val_interval': 1},
        'auto_scale_lr': {'base_batch_size': batch_size},
    }


def fitting_epochs(cfg: Mapping[str, Any], settings: Settings, num_images: int) -> dict[str, Any]:
    """Return the variables of a schedule of epochs; none if the config's own schedule fits.

    A warm-up by iterations takes at most a tenth of all steps.

    Args:
        cfg: config with `train_cfg.max_epochs`, the number of epochs without epochs in the settings.
        settings: settings of the training.
        num_images: number of images of an epoch.
    """
    epochs = settings.epochs or cfg['train_cfg']['max_epochs']
    batch_size = settings.batch_size or cfg['train_dataloader']['batch_size']
    longest = max(2, epochs * math.ceil(num_images / batch_size) // 10)
    warmups = [scheduler for scheduler in _schedulers(cfg) if _is_warmup(scheduler)]
    if settings.epochs is None and all(scheduler['end'] <= longest for scheduler in warmups):
        return {}
    variables = scaled_schedule(cfg, epochs)
    for scheduler in variables['param_scheduler']:
        if _is_warmup(scheduler):
            scheduler['end'] = min(scheduler['end'], longest)
    return variables


def _is_warmup(scheduler: Mapping[str, Any]) -> bool:
    return type_name(scheduler) == 'LinearLR' and not scheduler.get('by_epoch', True) and 'end' in scheduler


def _schedulers(cfg: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    schedulers = cfg.get('param_scheduler') or []
    return schedulers if isinstance(schedulers, list) else [schedulers]


def scaled_schedule(cfg: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return the variables of a config's own schedule for another number of epochs.

    Epochs at which schedulers and hooks begin, end or switch move in proportion.

    Args:
        cfg: config with `train_cfg.max_epochs`.
        epochs: number of epochs.
    """
    factor = epochs / cfg['train_cfg']['max_epochs']
    interval = max(1, round(factor * cfg['train_cfg'].get('val_interval', 1)))
    variables: dict[str, Any] = {
        'max_epochs': epochs,
        'train_cfg': {'max_epochs': Expression('max_epochs'), 'val_interval': interval},
    }
    if cfg['train_cfg'].get('dynamic_intervals'):
        variables['train_cfg']['dynamic_intervals'] = [
            (max(1, round(factor * epoch)), interval)
            for epoch, interval in cfg['train_cfg']['dynamic_intervals']
        ]
    variables['param_scheduler'] = [
        scaled_epochs(scheduler, factor) if scheduler.get('by_epoch', True) else dict(scheduler)
        for scheduler in _schedulers(cfg)
    ]
    hooks = [dict(hook) for hook in cfg.get('custom_hooks') or ()]
    if any(option in hook for hook in hooks for option in EPOCH_OPTIONS):
        variables['custom_hooks'] = [scaled_epochs(hook, factor) for hook in hooks]
    return variables


def fitting_iterations(cfg: Mapping[str, Any], settings: Settings, num_images: int) -> dict[str, Any]:
    """Return the variables of a schedule of iterations, for the epochs of the settings or by the images.

    Args:
        cfg: config with `train_cfg.max_iters`, which are the most iterations without epochs in the settings.
        settings: settings of the training.
        num_images: number of images of an epoch.
    """
    batch_size = settings.batch_size or cfg['train_dataloader']['batch_size']
    iterations = (settings.epochs or default_epochs(num_images)) * math.ceil(num_images / batch_size)
    if settings.epochs is None:
        iterations = min(iterations, cfg['train_cfg']['max_iters'])
    return scaled_iterations(cfg, iterations)


def scaled_iterations(cfg: Mapping[str, Any], iterations: int) -> dict[str, Any]:
    """Return the variables of a config's own schedule for another number of iterations, validated ten times.

    Args:
        cfg: config with `train_cfg.max_iters`.
        iterations: number of iterations.
    """
    factor = iterations / cfg['train_cfg']['max_iters']
    interval = max(1, iterations // 10)
    return {
        'train_cfg': {'max_iters': iterations, 'val_interval': interval},
        'param_scheduler': [scaled_epochs(scheduler, factor) for scheduler in _schedulers(cfg)],
        'default_hooks': {'checkpoint': {'interval': interval}},
    }
