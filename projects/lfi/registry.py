"""Registries of LFI: `lfi.X` resolves from every OpenMMLab scope."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import STRATEGIES as MMENGINE_STRATEGIES
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import Registry

from .utils.options import check_dicts

TASK_TYPES = {
    'FasterCocoMetric': 'lfi.evaluation.faster_coco_metric',
    'RecordedCachedMixUp': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedCachedMosaic': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedCopyPaste': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedMixUp': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedMosaic': 'lfi.datasets.transforms.recorded_mixing',
}
"""Types that need optional projects, with their modules, which are imported when the type is used."""


class TaskRegistry(Registry):
    """A registry that imports the types of `TASK_TYPES` when they are used."""

    def get(self, key: str) -> type | None:
        """Return a type by its name, or None."""
        module = TASK_TYPES.get(key.rpartition('.')[2])
        if module is not None:
            import_module(module)
        return super().get(key)


def registered_name(kind: Any) -> tuple[str, str] | None:
    """Return the scope and the name of a registered type; None if it is in no registry."""
    for scope in (kind.__module__.partition('.')[0], 'mmengine'):
        try:
            registries = vars(import_module(f'{scope}.registry')).values()
        except ImportError:
            continue
        for registry in registries:
            types = registry.module_dict if isinstance(registry, Registry) else {}
            name = next((name for name, registered in types.items() if registered is kind), None)
            if name is not None:
                return scope, name
    return None


def resolve_type(config: object, registry: Registry, argument: str) -> type[Any]:
    """Return the type of a config.

    Args:
        config: `dict(type=..., ...)`.
        registry: registry of the type.
        argument: name of the config in messages.

    Raises:
        ValueError: if `config` is not a dict, or its type is not in the registry.
    """
    registry.import_from_location()
    choices = f'choose from {sorted(registry.module_dict)}'
    if not isinstance(config, dict):
        raise ValueError(f'{argument}={config!r} must be a config, dict(type=...); {choices}')
    name = config.get('type')
    # A lazy config holds the type itself.
    kind = name if isinstance(name, type) else registry.get(str(name))
    if kind is None:
        raise ValueError(f'{argument}.type={name!r} is unknown; {choices}')
    return kind


def build_lfi_type(config: dict[str, Any], registry: Registry) -> Any:
    """Build a type of a registry that only LFI has, so that the default scope does not matter.

    Args:
        config: `dict(type=..., ...)`, with the arguments of the type.
        registry: registry of the type.

    Raises:
        ValueError: if `config` is not a dict, or its type is not in the registry.
    """
    arguments = dict(config)
    kind = resolve_type(arguments, registry, registry.name)
    del arguments['type']
    return kind(**arguments)


MODELS = TaskRegistry('model', parent=MMENGINE_MODELS, scope='lfi', locations=['lfi.models'])
# Models that a student learns from.
TEACHERS = Registry('teacher', build_func=build_lfi_type, scope='lfi', locations=['lfi.models.teachers'])
# The user's own dual encoders, for a teacher.
VLMS = Registry('vision-language model', scope='lfi', locations=['lfi.models.teachers'])
# Extractors of interaction maps from a VLM, by short name: `maskclip`, `clearclip`, ...
EXTRACTORS = Registry('extractor', scope='lfi', locations=['lfi.models.teachers.extractors'])
# Sources of concept names without images. Data sets with `class_names` serve as vocabularies, too.
VOCABULARIES = Registry('vocabulary', scope='lfi', locations=['lfi.concepts'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='lfi', locations=['lfi.datasets'])
DATA_SAMPLERS = Registry(
    'data sampler', parent=MMENGINE_DATA_SAMPLERS, scope='lfi', locations=['lfi.datasets']
)
TRANSFORMS = TaskRegistry('transform', parent=MMENGINE_TRANSFORMS, scope='lfi', locations=['lfi.datasets'])
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='lfi',
    locations=['lfi.concepts', 'lfi.engine', 'lfi.evaluation', 'lfi.visualization'],
)
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='lfi', locations=['lfi.engine.cpu_amp']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='lfi',
    # This module imports mmpretrain, so `lfi.engine` does not import the module.
    locations=['lfi.engine.layer_decay'],
)
STRATEGIES = Registry(
    'strategy', parent=MMENGINE_STRATEGIES, scope='lfi', locations=['lfi.engine.fsdp_strategy']
)
METRICS = TaskRegistry('metric', parent=MMENGINE_METRICS, scope='lfi', locations=['lfi.evaluation'])
VISBACKENDS = Registry(
    'visualization backend', parent=MMENGINE_VISBACKENDS, scope='lfi', locations=['lfi.visualization']
)


def build_component(option: str, cfg: Any, **defaults: Any) -> Any:
    """Build the part of a model that an option configures.

    Args:
        option: name of the option, for the error.
        cfg: value of the option, with the arguments that differ from the defaults.
        defaults: default type and arguments.

    Raises:
        ValueError: if the value is not a dict, its type is unknown, or the type raises a ValueError.
        TypeError: if the type raises a TypeError. The option is put before the message of the type.
    """
    check_dicts(**{option: cfg})
    arguments = {**defaults, **cfg}
    arguments['type'] = resolve_type(arguments, MODELS, option)
    try:
        return MODELS.build(arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{option}: {error}') from error
