"""Checks of a config that `lfi adapt` has written."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
from lfi.utils.config_types import leaf_configs, type_name

from .kinds import without_downloads
from .overlay import build_model

DataState = Literal['read', 'missing', 'broken']

AMP_ARGUMENTS = ('type', 'loss_scale', 'dtype', 'use_fsdp')
"""Arguments that only `AmpOptimWrapper` has."""


@dataclass(frozen=True)
class CheckReport:
    """Result of `check_config`.

    Args:
        cfg: the written config, with its bases.
        task_parameters: number of parameters of the task's model.
        added_parameters: number of parameters that interactions add.
        data: description of the training data.
        data_state: 'read'; 'missing' on this machine; or 'broken', which training would be too.
    """

    cfg: Config
    task_parameters: int
    added_parameters: int
    data: str
    data_state: DataState


def check_config(file: Path, task_model: nn.Module) -> CheckReport:
    """Read a written config, and build its model, optimizer and data on the CPU.

    Data are built and an image is read only if the files exist.

    Args:
        file: the config's file.
        task_model: the task's model.

    Raises:
        UsageError: if the config cannot be read or built, if its model lacks a weight of the task's model, or
            if `check_pipelines` or `check_few_labels` refuses it.
    """
    cfg = load_config(str(file))
    check_pipelines(cfg)
    check_few_labels(cfg)
    _check_cached_training(cfg)
    model = build_model(cfg, str(file))
    _check_weights(task_model, model)
    if cfg.get('optim_wrapper'):
        _check_optimizer(model, cfg)
    num_parameters = _count(task_model)
    return CheckReport(cfg, num_parameters, _count(model) - num_parameters, *_check_data(cfg))


def _check_cached_training(cfg: Config) -> None:
    """Check the pipelines as `tools/train.py` does with a cache."""
    hooks = [hook.to_dict() for hook in cfg.get('custom_hooks') or ()]
    pipelines = [{'pipeline': pipeline} for pipeline in switched_pipelines(hooks)]
    configs = _enable_caches([cfg.train_dataloader.dataset.to_dict(), *pipelines])
    refuse_unrecorded_steps(configs, cfg.get('default_scope'))


def _enable_caches(value: Any) -> Any:
    if isinstance(value, dict):
        cache = {'cache': ''} if value.get('type') == 'lfi.LoadInteractionMaps' else {}
        return {**{key: _enable_caches(item) for key, item in value.items()}, **cache}
    return [_enable_caches(item) for item in value] if isinstance(value, list) else value


def _check_weights(task_model: nn.Module, model: nn.Module) -> None:
    weights, expected = model.state_dict(), task_model.state_dict()
    missing = [k for k, value in expected.items() if k not in weights or weights[k].shape != value.shape]
    if missing:
        raise UsageError(
            f"the written model lacks {len(missing)} weights of the task's model, such as {missing[0]!r}: "
            "the task's checkpoints would not load"
        )


def _check_optimizer(model: nn.Module, cfg: Config) -> None:
    wrapper = cfg.optim_wrapper.to_dict()
    if wrapper.get('type') == 'AmpOptimWrapper':
        # AmpOptimWrapper cannot be built without a GPU.
        wrapper = {key: value for key, value in wrapper.items() if key not in AMP_ARGUMENTS}
    try:
        build_optim_wrapper(model, wrapper)
    # Optimizers raise errors of any type at parameters that they do not know.
    except Exception as error:
        raise UsageError(
            f'optim_wrapper cannot be built for the written model: {type(error).__name__}: {error}'
        ) from error


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _check_unlabelled(cfg: Config, dataset: Any) -> None:
    """Refuse a step that needs annotations in the pipeline of the unlabelled images, the last data set."""
    if type_name(list(leaf_configs(cfg.train_dataloader.dataset.to_dict()))[-1]) != 'ImageFolder':
        return
    try:
        _load_last_readable(dataset)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            '--unlabelled: train_pipeline has a step that fails on an image without annotations '
            f'({type(error).__name__}: {error}): give a config without that step'
        ) from error


def _load_last_readable(dataset: Any) -> None:
    """Load the last item whose image can be read, if there is one."""
    for index in reversed(range(len(dataset))):
        with suppress(UnreadableImageError):
            dataset[index]
            return


def _check_data(cfg: Config) -> tuple[str, DataState]:
    """Build the training data and load an image; return their description, and their state."""
    try:
        config = without_downloads(cfg.train_dataloader.dataset.to_dict(), cfg.get('default_scope'))
        # pycocotools prints.
        with redirect_stdout(io.StringIO()):
            dataset = DATASETS.build(config)
        size = len(dataset)
    except UsageError:
        raise
    # Data sets raise errors of any type at missing files or packages.
    except Exception as error:
        reason = f'({type(error).__name__}: {error})'
        if not isinstance(error, OSError) and not re.search('not found|cannot find', str(error), re.I):
            return f'the training data could not be built {reason}', 'broken'
        fix = '; add --cfg-options data_root=FOLDER/ to the commands below' if cfg.get('data_root') else ''
        return f'the training data were not found {reason}{fix}', 'missing'
    refuse_unreadable(dataset)
    try:
        sample = dataset[0]
    except UnreadableImageError as error:
        return f'{size} training images; the first could not be read: {error.image}', 'read'
    except UsageError:
        raise
    except Exception as error:
        reason = f'({type(error).__name__}: {error})'
        return f'{size} training images; the first could not be read {reason}', 'broken'
    _check_unlabelled(cfg, dataset)
    return f'{size} training images; the first was read, {tuple(sample["inputs"].shape)}', 'read'
