"""A config's schedule in fewer or more epochs."""

from __future__ import annotations

from mmengine.config import Config


def fitted_schedule(cfg: Config, epochs: int) -> list[str]:
    """Options that fit the schedule to so many epochs; each of its parts keeps at least one.

    What a part counts in iterations stays.
    """
    full = cfg.train_cfg.max_epochs

    def fit(epoch: int) -> int:
        return epochs if epoch == full else min(max(1, round(epoch * epochs / full)), epochs - 1)

    options = [f'train_cfg.max_epochs={epochs}']
    for i, part in enumerate(cfg.param_scheduler):
        if not part.get('by_epoch', True):
            continue
        fitted = {key: str(fit(part[key])) for key in ('begin', 'end', 'T_max') if part.get(key)}
        if 'milestones' in part:
            fitted['milestones'] = str([*map(fit, part['milestones'])]).replace(' ', '')
        options += [f'param_scheduler.{i}.{key}={value}' for key, value in fitted.items()]
    return options
