"""A config's schedule in fewer or more epochs."""

from __future__ import annotations

from mmengine.config import Config


def fitted_schedule(cfg: Config, epochs: int) -> list[str]:
    """Options that fit the schedule to so many epochs; each of its parts keeps at least one."""
    factor = epochs / cfg.train_cfg.max_epochs
    options = [f'train_cfg.max_epochs={epochs}']
    for i, part in enumerate(cfg.param_scheduler):
        for key in ('begin', 'end'):
            if part.get(key):
                inner = min(max(1, round(part[key] * factor)), epochs - 1)
                value = epochs if part[key] == cfg.train_cfg.max_epochs else inner
                options.append(f'param_scheduler.{i}.{key}={value}')
    return options
