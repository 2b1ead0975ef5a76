"""LFI's child registries: `lfi.X` resolves from every OpenMMLab scope."""

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

from .utils.options import check_options

TASK_TYPES = {
    'FasterCocoMetric': 'lfi.evaluation.faster_coco_metric',
    'RecordedCachedMixUp': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedCachedMosaic': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedCopyPaste': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedMixUp': 'lfi.datasets.transforms.recorded_mixing',
    'RecordedMosaic': 'lfi.datasets.transforms.recorded_mixing',
}
"""What needs projects that need not be installed, and where it is: imported when it is asked for."""


class TaskRegistry(Registry):
    """A registry that imports what belongs to a task when it is asked for by name."""

    def get(self, key: str) -> type | None:
        """Find a type as `Registry.get` does."""
        module = TASK_TYPES.get(key.rpartition('.')[2])
        if module is not None:
            import_module(module)
        return super().get(key)


def registered_name(kind: Any) -> tuple[str, str] | None:
    """The scope and the name by which a text config names what a lazy one holds; None where it has none."""
    for scope in (kind.__module__.partition('.')[0], 'mmengine'):
        try:
            registries = vars(import_module(f'{scope}.registry')).values()
        except ImportError:
            continue
        for registry in registries:
            known = registry.module_dict if isinstance(registry, Registry) else {}
            name = next((name for name, one in known.items() if one is kind), None)
            if name is not None:
                return scope, name
    return None


def type_of(config: object, registry: Registry, argument: str) -> type[Any]:
    """Find the type that a config names.

    Args:
        config: `dict(type=..., ...)`.
        registry: where the type is registered.
        argument: the config's name in messages.

    Raises:
        ValueError: if it is not a config, or names no type of the registry.
    """
    registry.import_from_location()
    known = f'choose from {sorted(registry.module_dict)}'
    if not isinstance(config, dict):
        raise ValueError(f'{argument}={config!r} must be a config, dict(type=...); {known}')
    name = config.get('type')
    # A lazy config holds the type itself.
    found = name if isinstance(name, type) else registry.get(str(name))
    if found is None:
        raise ValueError(f'{argument}.type={name!r} is unknown; {known}')
    return found


def build_own(config: dict[str, Any], registry: Registry) -> Any:
    """Build what a config names, whatever the default scope is: a task's package has no such registry.

    Args:
        config: `dict(type=..., ...)`, with the arguments of the type.
        registry: where the type is registered.

    Raises:
        ValueError: as `type_of` says; and as the type does.
    """
    arguments = dict(config)
    kind = type_of(arguments, registry, registry.name)
    del arguments['type']
    return kind(**arguments)


MODELS = TaskRegistry('model', parent=MMENGINE_MODELS, scope='lfi', locations=['lfi.models'])
# What a student learns from.
TEACHERS = Registry('teacher', build_func=build_own, scope='lfi', locations=['lfi.models.teachers'])
# Dual encoders of one's own, which a teacher asks.
VLMS = Registry('vision-language model', scope='lfi', locations=['lfi.models.teachers'])
# Ways to read interaction maps from a VLM, by short name: `maskclip`, `clearclip`, ...
EXTRACTORS = Registry('extractor', scope='lfi', locations=['lfi.models.teachers.extractors'])
# What names concepts and holds no images; a data set with `class_names` can name them too.
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
    # Not all of lfi.engine: it must not import mmpretrain when `lfi` is imported.
    locations=['lfi.engine.layer_decay'],
)
STRATEGIES = Registry(
    'strategy', parent=MMENGINE_STRATEGIES, scope='lfi', locations=['lfi.engine.fsdp_strategy']
)
METRICS = TaskRegistry('metric', parent=MMENGINE_METRICS, scope='lfi', locations=['lfi.evaluation'])
VISBACKENDS = Registry(
    'visualization backend', parent=MMENGINE_VISBACKENDS, scope='lfi', locations=['lfi.visualization']
)


def build_part(option: str, cfg: Any, **defaults: Any) -> Any:
    """Build the part that an option configures.

    Args:
        option: its name, for the error.
        cfg: its value, the arguments that differ from the defaults.
        defaults: the type and arguments.

    Raises:
        ValueError: if the value is not a dict, or its type is unknown; and as the type, after the option.
        TypeError: as the type, after the option.
    """
    check_options(**{option: cfg})
    arguments = {**defaults, **cfg}
    arguments['type'] = type_of(arguments, MODELS, option)
    try:
        return MODELS.build(arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{option}: {error}') from error
