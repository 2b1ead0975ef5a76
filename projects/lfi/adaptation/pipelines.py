"""Changes of data pipelines: recorded views for cached maps, and the variables of an overlay."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.registry import TRANSFORMS

from lfi.datasets.transforms.unrecorded_steps import HARMLESS
from lfi.datasets.transforms.view_rules import moves_nothing
from lfi.engine.pipelines import is_rgb
from lfi.registry import TASK_TYPES
from lfi.structures import CACHE_KEYS
from lfi.utils.config_types import dataset_configs, type_name

from .kinds import registered_class
from .source import Expression

Pipeline = list[dict[str, Any]]
MAPS_LOADER = 'LoadInteractionMaps'
PADS = ('Pad',)
IMAGE_LOADERS = 'LoadImage'


class UnknownViewError(ValueError):
    """Raised for a pipeline whose view of an image cannot be recorded; the message gives the reason."""


def record_views(pipeline: Pipeline, scope: str) -> Pipeline:
    """Return a training pipeline that records its views and reads cached maps.

    `lfi.RecordView` wraps the steps from the first to the last that move pixels. If a step mixes images, the
    steps before and after it are wrapped separately. Steps of mmdet that mix images become LFI's. Cached maps
    are loaded before the step that packs.

    Args:
        pipeline: steps of the pipeline.
        scope: registry scope of unscoped types.

    Raises:
        UnknownViewError: if a step cannot be recorded.
    """
    steps: Pipeline = []
    pending: Pipeline = []
    for step in pipeline:
        recorded_type = f'Recorded{type_name(step)}'
        packs = type_name(step).startswith('Pack')
        if recorded_type not in TASK_TYPES and not packs:
            pending.append(step)
            continue
        steps += _wrap_moving_steps(pending, scope)
        pending = []
        if packs:
            if not any(type_name(previous) == MAPS_LOADER for previous in steps):
                steps.append({'type': f'lfi.{MAPS_LOADER}'})
            steps.append(_pack_maps(step, scope))
        else:
            steps.append({**step, 'type': f'lfi.{recorded_type}'})
    return steps + _wrap_moving_steps(pending, scope)


def mixes_images(pipeline: Pipeline) -> bool:
    """Whether a pipeline has steps of mmdet or LFI that mix images."""
    return any(f'Recorded{type_name(step).removeprefix("Recorded")}' in TASK_TYPES for step in pipeline)


def without_padding(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline without the steps that pad."""
    return [step for step in pipeline if type_name(step) not in PADS]


# mmseg's option that limits the pixels of one class in a crop.
_ANNOTATION_OPTIONS = ('cat_max_ratio',)
# mmdet's RandomAffine reads boxes, and crops the border of a mosaic.
_ANNOTATION_STEPS = ('LoadAnnotations', 'LoadPanoptic', 'Filter', 'Recorded', 'RandomAffine')


def unlabelled_pipeline(pipeline: Pipeline) -> Pipeline:
    """Return a training pipeline for image files without annotations, without steps that mix."""
    steps = [
        {key: value for key, value in step.items() if key not in _ANNOTATION_OPTIONS}
        for step in pipeline
        if not type_name(step).startswith(_ANNOTATION_STEPS) and not mixes_images([step])
    ]
    loads_files = any(type_name(step).startswith(IMAGE_LOADERS) for step in steps)
    return steps if loads_files else [{'type': 'LoadImageFromFile'}, *steps]


def pipeline_changes(config: Mapping, change: Callable[[Pipeline], Pipeline]) -> dict[str, Any]:
    """Return the changes of a data set's config that change its pipelines; empty if `change` has no effect.

    A data set of RGB images is replaced by LFI's data set of the same images in BGR.

    Args:
        config: config of a data set, with the data sets inside it. A list of data sets is written in full.
        change: function from a pipeline to the changed one.
    """
    changes: dict[str, Any] = {}
    for key, value in config.items():
        if key == 'pipeline' and value is not None:
            pipeline = change(value)
            if pipeline != value:
                changes[key] = pipeline
        elif key == 'type' and is_rgb(config):
            changes[key] = f'lfi.{type_name(config)}'
        elif key == 'dataset' and isinstance(value, Mapping):
            inner = pipeline_changes(value, change)
            if inner:
                changes[key] = inner
        elif key == 'datasets':
            inners = [pipeline_changes(part, change) for part in value]
            if any(inners):
                changes[key] = [apply_changes(part, inner) for part, inner in zip(value, inners)]
    return changes


def apply_changes(config: Mapping, changes: Mapping) -> dict[str, Any]:
    """Merge an overlay's changes into a config, as MMEngine does."""
    merged = dict(config)
    for key, value in changes.items():
        inner = config.get(key)
        are_mappings = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[key] = apply_changes(config[key], value) if are_mappings else value
    return merged


def pipelines_of(config: object) -> Iterator[Pipeline]:
    """Yield the pipelines of a data set's config, and of the data sets inside it."""
    return (part['pipeline'] for part in dataset_configs(config) if part.get('pipeline'))


def full_pipeline(config: Mapping) -> Pipeline:
    """Return all steps of a data set, those of inner data sets first; of a list, use the first data set."""
    inner = config.get('dataset', config.get('datasets'))
    inner = inner[0] if isinstance(inner, list | tuple) else inner
    return [*(full_pipeline(inner) if inner else ()), *(config.get('pipeline') or ())]


def _wrap_moving_steps(steps: Pipeline, scope: str) -> Pipeline:
    """Wrap the steps that move pixels in one `lfi.RecordView`; none of the steps mixes images."""
    moving = [index for index, step in enumerate(steps) if _moves(step, scope)]
    if not moving:
        return steps
    first, last = moving[0], moving[-1] + 1
    view = {'type': 'lfi.RecordView', 'transforms': steps[first:last]}
    try:
        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            registry.build({**view, 'transforms': [dict(step) for step in steps[first:last]]})
    # Transforms raise errors of any type at wrong arguments or missing packages.
    except Exception as error:
        raise UnknownViewError(re.sub('^class .*?: ', '', str(error))) from error
    return [*steps[:first], view, *steps[last:]]


def _moves(step: dict, scope: str) -> bool:
    transform = registered_class(step, TRANSFORMS, scope)
    is_lfi = getattr(transform, '__module__', '').startswith('lfi.')
    return not (type_name(step).startswith(HARMLESS) or is_lfi or moves_nothing(transform))


def _pack_maps(step: dict, scope: str) -> dict:
    """Add the keys of views and cached maps to a step that packs."""
    transform = registered_class(step, TRANSFORMS, scope)
    arguments = inspect.signature(transform).parameters if transform is not None else {}
    key = next((name for name in ('algorithm_keys', 'meta_keys') if name in arguments), None)
    if key is None:
        raise UnknownViewError(
            f'{type_name(step)} packs neither algorithm_keys nor meta_keys: views and maps would not '
            'reach the model'
        )
    packed = tuple(step.get(key, arguments[key].default))
    return {**step, key: (*packed, *(name for name in CACHE_KEYS if name not in packed))}


@dataclass
class DataChanges:
    """Changes of the data in an overlay.

    Args:
        variables: values by variable name, in the order of the file.
        summary: (topic, description) of each change, for the user.
        cache_obstacle: reason why training cannot read a cache; None if it can.
        divisor: the data preprocessor must pad to multiples of it, in pixels. Defaults to 1: no padding.
        pad_value: fill value of the data preprocessor, after normalisation; None to keep its own.
        converted_to_bgr: whether RGB images now load as BGR, so that the data preprocessor must convert them.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    summary: list[tuple[str, str]] = field(default_factory=list)
    cache_obstacle: str | None = None
    divisor: int = 1
    pad_value: float | None = None
    converted_to_bgr: bool = False

    def share(self, name: str, pipeline: Pipeline) -> Expression:
        """Return the variable that holds a pipeline; add a variable if none holds an equal pipeline."""
        for variable, value in self.variables.items():
            if value == pipeline:
                return Expression(variable)
        names = (f'{name}_{n}' if n > 1 else name for n in range(1, len(self.variables) + 2))
        variable = next(candidate for candidate in names if candidate not in self.variables)
        self.variables[variable] = pipeline
        return Expression(variable)

    def with_variables(self, name: str, value: Any) -> Any:
        """Replace the pipelines inside a value by variables."""
        if isinstance(value, Mapping):
            return {
                key: self.share(name, item)
                if key == 'pipeline' and isinstance(item, list)
                else self.with_variables(name, item)
                for key, item in value.items()
            }
        return [self.with_variables(name, item) for item in value] if isinstance(value, list) else value
