"""Schedules fitted to another number of epochs."""

from __future__ import annotations

from mmengine.config import Config


def fitted_schedule(cfg: Config, epochs: int) -> list[str]:
    """Return `--cfg-options` that fit the schedule of a config to a number of epochs.

    Each scheduler keeps one epoch or more. Schedulers by iteration are unchanged.
    """
    full = cfg.train_cfg.max_epochs

    def fit(epoch: int) -> int:
        return epochs if epoch == full else min(max(1, round(epoch * epochs / full)), epochs - 1)

    options = [f'train_cfg.max_epochs={epochs}']
    for i, scheduler in enumerate(cfg.param_scheduler):
        if not scheduler.get('by_epoch', True):
            continue
        fitted = {key: str(fit(scheduler[key])) for key in ('begin', 'end', 'T_max') if scheduler.get(key)}
        if 'milestones' in scheduler:
            fitted['milestones'] = str([*map(fit, scheduler['milestones'])]).replace(' ', '')
        options += [f'param_scheduler.{i}.{key}={value}' for key, value in fitted.items()]
    return options
