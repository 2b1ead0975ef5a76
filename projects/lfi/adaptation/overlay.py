"""Overlay: a config that inherits from a user's and learns from interactions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from lfi.concepts import check_unique
from lfi.errors import UsageError
from lfi.utils.config_types import model_config, type_name

from .backbone import AdaptedBackbone, adapt_backbone, pretrained_covers_model
from .class_names import check_class_count, dataset_concepts, first_names, read_concepts
from .data import adapt_data
from .norms import GROUP_NORM, group_norms, use_plain_norms
from .pipelines import DataChanges
from .source import assignments
from .task import Task, find_task
from .teacher import configure_teacher, find_teacher, interactions_config
from .user_config import UserConfig

HOOKS = {
    'non_finite': {'type': 'lfi.NonFiniteHook'},
    'concept_check': {'type': 'lfi.ConceptCheckHook'},
}

# Prefix of the parameter names of an adapter's layers.
ADAPTER_LAYERS = 'backbone.interaction'


@dataclass(frozen=True)
class Overlay:
    """Config file before it is written.

    Args:
        title: comment at the top of the file.
        variables: values of the file by variable name, in their order.
        summary: (topic, description) of each change, for the user.
        can_cache: whether training can read a cache of the teacher's maps.
        task_model: the task's model.
    """

    title: str
    variables: dict[str, Any]
    summary: list[tuple[str, str]]
    can_cache: bool
    task_model: nn.Module

    @property
    def text(self) -> str:
        """Content of the file."""
        return self.title + assignments(self.variables)


def build_overlay(
    user: UserConfig, out: Path, teacher: str, concepts: str | None = None, unlabelled: str | None = None
) -> Overlay:
    """Build a config that inherits from a task's and learns from a teacher's interactions.

    Args:
        user: the task's config.
        out: path of the new file.
        teacher: name in LFI's configs, MODEL:TAG of open_clip, or a folder.
        concepts: file with one class name a line. Defaults to None: names of the data set.
        unlabelled: folder of images without labels. Defaults to None.

    Raises:
        UsageError: if an argument or the config cannot be used.
    """
    find_teacher(teacher)
    cfg, scope = user.cfg, user.scope
    task, model = find_task(cfg.model, scope)
    if unlabelled is not None and not Path(unlabelled).expanduser().is_dir():
        raise UsageError(f'--unlabelled {unlabelled} is not a folder: give the folder of your images')
    teacher_concepts, names = _concepts(cfg, scope, concepts)
    call, config = configure_teacher(teacher, teacher_concepts, len(names), task.is_dense)
    backbone = adapt_backbone(cfg.model, scope)
    task_model = build_model(cfg, 'the config')
    data = adapt_data(cfg, scope, task_model, unlabelled, one_size=not task.is_dense)

    summary = [
        ('model', f'{type_name(cfg.model)} -> {" of ".join(model.values())}'),
        ('backbone', backbone.description),
        ('teacher', _describe_teacher(teacher, teacher_concepts, config, len(names))),
    ]
    if group_norms(cfg.model):
        summary.append(
            (
                'norms',
                f'{GROUP_NORM} wants a process group, so the check builds batch norms: train by '
                'tools/dist_train.sh, or set its type to SyncBN or BN for one process',
            )
        )
    if cfg.model.get('pretrained') and not pretrained_covers_model(cfg.model):
        model['pretrained'] = None
    if backbone.changes:
        model['backbone'] = backbone.changes
    variables: dict[str, Any] = {'_base_': user.base_path(out), 'custom_imports': _imports(cfg)}
    preprocessor = _padding_changes(cfg, data, backbone, task)
    if data.converted_to_bgr:
        # The task's model must see the same channel order as before.
        preprocessor['to_rgb'] = not _preprocessor_config(cfg).get('to_rgb', False)
    mixing = _mixing_options(cfg) if unlabelled is not None and task.package == 'mmpretrain' else []
    if mixing:
        # mmpretrain's classifier passes `train_cfg` to the data preprocessor. `False` turns its options off.
        model.update({'train_cfg': None} if 'train_cfg' in mixing else {})
        preprocessor.update({name: False for name in mixing if name != 'train_cfg'})
        summary.append(('mixing', f'no {", ".join(mixing)}: images without labels cannot be mixed'))
        if ((cfg.model.get('head') or {}).get('loss') or {}).get('use_soft'):
            model['head'] = {'loss': {'use_soft': False}}
            summary.append(('head', 'loss.use_soft=False: without mixing, labels are no scores'))
    if preprocessor and 'data_preprocessor' in cfg.model:
        model['data_preprocessor'] = preprocessor
    elif preprocessor:
        variables['data_preprocessor'] = preprocessor
    rates = _new_layer_rates(cfg, backbone)
    if rates:
        variables['optim_wrapper'] = {'paramwise_cfg': {'custom_keys': rates}}
        summary.append(('rates', f'lr_mult=1.0 for {ADAPTER_LAYERS}*, which is not pretrained'))
    model['teacher'] = call
    part = interactions_config(config)
    if task.loss_weights:
        part['loss'] = {'type': 'lfi.InteractionDistillLoss', **task.loss_weights}
    model['supervision'] = {'interactions': part}
    variables.update(model=model, **data.variables)
    hooks = {name: hook for name, hook in HOOKS.items() if name not in (cfg.get('default_hooks') or {})}
    if hooks:
        variables['default_hooks'] = hooks
    if cfg.get('work_dir'):
        # A shared folder would mix checkpoints of both configs.
        variables['work_dir'] = f'work_dirs/{out.stem}'
        summary.append(('work_dir', f'{cfg.work_dir} -> {variables["work_dir"]}'))
    if cfg.get('resume'):
        variables.update(resume=False, load_from=None)
        summary.append(('resume', 'False: training starts from the first epoch'))
    title = f'# {user.path.name}, learning from the interactions of {teacher}; written by `lfi adapt`.\n'
    return Overlay(title, variables, [*summary, *data.summary], data.cache_obstacle is None, task_model)


def build_model(cfg: Config, config_name: str) -> nn.Module:
    """Build a config's model on the CPU, as a Runner does, without loading weights.

    Args:
        cfg: the config.
        config_name: name of the config in messages.

    Raises:
        UsageError: if the model cannot be built.
    """
    config = deepcopy(model_config(cfg))
    use_plain_norms(config)
    try:
        model: nn.Module = MODELS.build(config)
    # Models raise errors of any type at wrong arguments.
    except Exception as error:
        raise UsageError(
            f'model.type={cfg.model.type!r} of {config_name} cannot be built: {type(error).__name__}: {error}'
        ) from error
    return model


def _concepts(cfg: Config, scope: str, file: str | None) -> tuple[Any, list[str]]:
    if file is not None:
        names = read_concepts(file)
        check_class_count(names, cfg.model, from_file=True)
        check_unique(names, f'--concepts {file}')
        return names, names
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    teacher_concepts, names = dataset_concepts(dataset, scope)
    check_class_count(names, cfg.model, from_file=False)
    return teacher_concepts, names


def _describe_teacher(teacher: str, concepts: Any, config: Mapping, num_classes: int) -> str:
    if isinstance(concepts, Mapping):
        names = f'the {num_classes} classes of {concepts["type"]}'
    else:
        names = f'{num_classes} classes: {first_names(concepts)}'
    limit = f', at most {config["max_concepts"]} for each image' if 'max_concepts' in config else ''
    return f'{teacher} is asked about {names}{limit}'


def _imports(cfg: Config) -> dict[str, Any]:
    custom_imports = cfg.get('custom_imports') or {}
    imports = custom_imports.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    return {
        'imports': imports if 'lfi' in imports else [*imports, 'lfi'],
        'allow_failed_imports': custom_imports.get('allow_failed_imports', False),
    }


def _mixing_options(cfg: Config) -> list[str]:
    """Return the names of the options that mix images or turn labels into scores."""
    preprocessor = _preprocessor_config(cfg)
    augments = ['train_cfg'] if (cfg.model.get('train_cfg') or {}).get('augments') else []
    return augments + [name for name in ('batch_augments', 'to_onehot') if preprocessor.get(name)]


def _preprocessor_config(cfg: Config) -> Mapping[str, Any]:
    config: Mapping[str, Any] = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    return config


def _new_layer_rates(cfg: Config, backbone: AdaptedBackbone) -> dict[str, Any]:
    """Return the `custom_keys` that exempt an adapter's new layers from the pretrained layers' rate."""
    keys = ((cfg.get('optim_wrapper') or {}).get('paramwise_cfg') or {}).get('custom_keys') or {}
    # mmengine applies the longest key that is a part of a parameter's name.
    longest_first = sorted(sorted(keys), key=len, reverse=True)
    key = next((key for key in longest_first if key in f'{ADAPTER_LAYERS}.'), None)
    if not backbone.adds_layers or key is None or keys[key].get('lr_mult', 1) == 1:
        return {}
    return {ADAPTER_LAYERS: {**keys[key], 'lr_mult': 1.0}}


def _padding_changes(cfg: Config, data: DataChanges, backbone: AdaptedBackbone, task: Task) -> dict[str, Any]:
    """Return the changes of the data preprocessor's padding.

    Raises:
        UsageError: if the data preprocessor's `size` is no multiple of the divisor.
    """
    preprocessor = _preprocessor_config(cfg)
    previous_divisor = preprocessor.get(task.pad_divisor) or 1
    divisors = [previous_divisor]
    if data.divisor > 1:
        divisors.append(data.divisor)
    if data.divisor > 1 and task.is_dense:
        divisors.append(backbone.largest_stride)
    if task.is_dense:
        divisors.append(backbone.divisor)
    divisor = math.lcm(*divisors)
    changes: dict[str, Any] = {}
    size = preprocessor.get('size')
    if size and any(side % divisor for side in size):
        raise UsageError(
            f'data_preprocessor.size={size} must be multiples of {divisor} pixels, for {backbone.description}'
        )
    if divisor != previous_divisor and not size:
        changes[task.pad_divisor] = divisor
    if backbone.divisor > 1 and not task.pads_for_test:
        test_cfg = preprocessor.get('test_cfg') or {}
        if not test_cfg.get('size'):
            test_divisor = math.lcm(test_cfg.get('size_divisor') or 1, backbone.divisor)
            changes['test_cfg'] = {'size_divisor': test_divisor}
    return changes if data.pad_value is None else {**changes, task.pad_value: data.pad_value}
