"""Whether a written config does what it should."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS
from torch import nn

from lfi.datasets.transforms import refuse_unrecorded_steps
from lfi.engine.config_loading import load_config
from lfi.engine.few_labels_option import check_few_labels
from lfi.engine.pipelines import check_pipelines, switched_pipelines
from lfi.errors import UsageError
from lfi.unreadable import UnreadableImageError, refuse_unreadable
from lfi.utils.config_types import leaves, type_name

from .kinds import offline
from .overlay import build_model

OF_AMP = ('type', 'loss_scale', 'dtype', 'use_fsdp')
"""Arguments that an optimizer's wrapper has for mixed precision alone."""


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Args:
        cfg: the written config, with all that it inherits.
        plain: how many parameters the task's own model has.
        added: how many interactions add.
        data: what was found of the training data.
    """

    cfg: Config
    plain: int
    added: int
    data: str


def checked(file: Path, plain: nn.Module) -> Checked:
    """Read a config that was written, and build what it names on the CPU.

    The data are built where their files are there, and an image is read.

    Args:
        file: of the config.
        plain: the task's own model.

    Raises:
        UsageError: if it cannot be read or built, if a weight of the task's model has no place in it, or as
            `check_pipelines` and `check_few_labels` say.
    """
    cfg = load_config(str(file))
    check_pipelines(cfg)
    check_few_labels(cfg)
    _check_recorded(cfg)
    model = build_model(cfg, str(file))
    _check_weights(plain, model)
    if cfg.get('optim_wrapper'):
        _check_optimizer(model, cfg)
    own = _count(plain)
    return Checked(cfg, own, _count(model) - own, _check_data(cfg))


def _check_recorded(cfg: Config) -> None:
    """Check what `tools/train.py` would when it is given a cache."""
    hooks = [hook.to_dict() for hook in cfg.get('custom_hooks') or ()]
    pipelines = [{'pipeline': pipeline} for pipeline in switched_pipelines(hooks)]
    found = _with_cache([cfg.train_dataloader.dataset.to_dict(), *pipelines])
    refuse_unrecorded_steps(found, cfg.get('default_scope'))


def _with_cache(value: Any) -> Any:
    if isinstance(value, dict):
        own = {'cache': ''} if value.get('type') == 'lfi.LoadInteractionMaps' else {}
        return {**{key: _with_cache(item) for key, item in value.items()}, **own}
    return [_with_cache(item) for item in value] if isinstance(value, list) else value


def _check_weights(plain: nn.Module, model: nn.Module) -> None:
    own, theirs = model.state_dict(), plain.state_dict()
    lost = [name for name, value in theirs.items() if name not in own or own[name].shape != value.shape]
    if lost:
        raise UsageError(
            f"{len(lost)} weights of the task's model have no place in the written one, {lost[0]!r} first: "
            'its checkpoints would not load'
        )


def _check_optimizer(model: nn.Module, cfg: Config) -> None:
    wrapper = cfg.optim_wrapper.to_dict()
    if wrapper.get('type') == 'AmpOptimWrapper':
        # It refuses to be built without a GPU.
        wrapper = {key: value for key, value in wrapper.items() if key not in OF_AMP}
    try:
        build_optim_wrapper(model, wrapper)
    # What an optimizer raises at parameters that it does not know differs from one to the next.
    except Exception as error:
        raise UsageError(
            f'optim_wrapper cannot be built for the written model: {type(error).__name__}: {error}'
        ) from error


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _check_unlabelled(cfg: Config, dataset: Any) -> None:
    """Refuse a pipeline whose steps need annotations that images of a folder lack; it stands last."""
    if type_name(list(leaves(cfg.train_dataloader.dataset.to_dict()))[-1]) != 'ImageFolder':
        return
    try:
        _last_readable(dataset)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            '--unlabelled: train_pipeline has a step that an image without annotations does not pass '
            f'({type(error).__name__}: {error}): give a config without it'
        ) from error


def _last_readable(dataset: Any) -> None:
    """Take the last item whose image can be read; none, if there is none."""
    for index in reversed(range(len(dataset))):
        with suppress(UnreadableImageError):
            dataset[index]
            return


def _check_data(cfg: Config) -> str:
    """What is found of the training data; an image that is read must be packed."""
    try:
        found = offline(cfg.train_dataloader.dataset.to_dict(), cfg.get('default_scope'))
        dataset = DATASETS.build(found)
        size = len(dataset)
    except UsageError:
        raise
    # What a data set raises at files that are missing or wrong, or without a package, differs from one to
    # the next.
    except Exception as error:
        reason = f'({type(error).__name__}: {error})'
        if not isinstance(error, OSError) and not re.search('not found|cannot find', str(error), re.I):
            return f'the training data could not be built {reason}'
        said = f'the training data were not found, and not built {reason}'
        return f'{said}; add --cfg-options data_root=FOLDER/ below' if cfg.get('data_root') else said
    refuse_unreadable(dataset)
    try:
        sample = dataset[0]
    except UnreadableImageError as error:
        return f'{size} training images; the first could not be read: {error.image}'
    except UsageError:
        raise
    except Exception as error:
        return f'{size} training images; the first could not be read ({type(error).__name__}: {error})'
    _check_unlabelled(cfg, dataset)
    return f'{size} training images; the first was read, {tuple(sample["inputs"].shape)}'
