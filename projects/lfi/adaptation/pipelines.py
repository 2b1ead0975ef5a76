"""Pipelines that a cache of the teacher's maps can follow, and what an overlay says of data."""

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
from lfi.utils.config_types import parts, type_name

from .kinds import kind_of
from .source import Expression

Pipeline = list[dict[str, Any]]
READS_MAPS = 'LoadInteractionMaps'
PADS = ('Pad',)
READERS = 'LoadImage'


class UnknownViewError(ValueError):
    """A pipeline of which nobody can tell what part of an image it shows; the message says why."""


def recorded(pipeline: Pipeline, scope: str) -> Pipeline:
    """A training pipeline whose views are recorded, and which reads the maps of a cache.

    `lfi.RecordView` holds the steps from the first that moves pixels to the last, and those before and after
    a step that mixes images each by themselves; mmdet's steps that mix become ours. A pipeline that packs
    reads the maps before that.

    Args:
        pipeline: the steps.
        scope: where types are looked up that name no scope.

    Raises:
        UnknownViewError: if a step is not known.
    """
    steps: Pipeline = []
    between: Pipeline = []
    for step in pipeline:
        mixing = f'Recorded{type_name(step)}'
        packs = type_name(step).startswith('Pack')
        if mixing not in TASK_TYPES and not packs:
            between.append(step)
            continue
        steps += _viewed(between, scope)
        between = []
        if packs:
            if not any(type_name(each) == READS_MAPS for each in steps):
                steps.append({'type': f'lfi.{READS_MAPS}'})
            steps.append(_packs_maps(step, scope))
        else:
            steps.append({**step, 'type': f'lfi.{mixing}'})
    return steps + _viewed(between, scope)


def mixes(pipeline: Pipeline) -> bool:
    """Whether a pipeline has steps that mix images, of mmdet or ours."""
    return any(f'Recorded{type_name(step).removeprefix("Recorded")}' in TASK_TYPES for step in pipeline)


def without_padding(pipeline: Pipeline) -> Pipeline:
    """A pipeline that leaves padding to the data preprocessor."""
    return [step for step in pipeline if type_name(step) not in PADS]


# How much of a crop one class of mmseg may fill.
_OF_ANNOTATIONS = ('cat_max_ratio',)
# mmdet's RandomAffine reads boxes, and cuts a mosaic's border off.
_LEFT_OUT = ('LoadAnnotations', 'LoadPanoptic', 'Filter', 'Recorded', 'RandomAffine')


def unlabelled(pipeline: Pipeline) -> Pipeline:
    """A training pipeline for images of files that have no annotations and are not mixed."""
    steps = [
        {key: value for key, value in step.items() if key not in _OF_ANNOTATIONS}
        for step in pipeline
        if not type_name(step).startswith(_LEFT_OUT) and not mixes([step])
    ]
    reads = any(type_name(step).startswith(READERS) for step in steps)
    return steps if reads else [{'type': 'LoadImageFromFile'}, *steps]


def of_datasets(config: Mapping, change: Callable[[Pipeline], Pipeline]) -> dict[str, Any]:
    """What an overlay says of a data set's config whose pipelines change; empty where none does.

    A data set of RGB images becomes ours of the same in BGR.

    Args:
        config: of a data set, with those that it wraps or joins. Those of a list are written again.
        change: from a pipeline to another one.
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key == 'pipeline' and value is not None:
            pipeline = change(value)
            if pipeline != value:
                found[key] = pipeline
        elif key == 'type' and is_rgb(config):
            found[key] = f'lfi.{type_name(config)}'
        elif key == 'dataset' and isinstance(value, Mapping):
            inner = of_datasets(value, change)
            if inner:
                found[key] = inner
        elif key == 'datasets':
            inners = [of_datasets(part, change) for part in value]
            if any(inners):
                found[key] = [overlaid(part, inner) for part, inner in zip(value, inners)]
    return found


def overlaid(config: Mapping, changes: Mapping) -> dict[str, Any]:
    """A config with an overlay's changes, as MMEngine merges them."""
    found = dict(config)
    for key, value in changes.items():
        inner = config.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        found[key] = overlaid(config[key], value) if both else value
    return found


def pipelines_of(config: object) -> Iterator[Pipeline]:
    """The pipelines of a data set's config, and of those inside it."""
    return (part['pipeline'] for part in parts(config) if part.get('pipeline'))


def chain_of(config: Mapping) -> Pipeline:
    """All steps that an image of a data set's config passes, of a list of data sets those of the first."""
    inside = config.get('dataset', config.get('datasets'))
    inside = inside[0] if isinstance(inside, list | tuple) else inside
    return [*(chain_of(inside) if inside else ()), *(config.get('pipeline') or ())]


def _viewed(steps: Pipeline, scope: str) -> Pipeline:
    """Steps that mix nothing, those that move pixels in one `lfi.RecordView`."""
    moving = [place for place, step in enumerate(steps) if _moves(step, scope)]
    if not moving:
        return steps
    first, last = moving[0], moving[-1] + 1
    view = {'type': 'lfi.RecordView', 'transforms': steps[first:last]}
    try:
        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            registry.build({**view, 'transforms': [dict(step) for step in steps[first:last]]})
    # What a transform raises at wrong arguments, or without its package, differs from one to the next.
    except Exception as error:
        raise UnknownViewError(re.sub('^class .*?: ', '', str(error))) from error
    return [*steps[:first], view, *steps[last:]]


def _moves(step: dict, scope: str) -> bool:
    kind = kind_of(step, TRANSFORMS, scope)
    ours = getattr(kind, '__module__', '').startswith('lfi.')
    return not (type_name(step).startswith(HARMLESS) or ours or moves_nothing(kind))


def _packs_maps(step: dict, scope: str) -> dict:
    """A step that packs what a cache needs too."""
    kind = kind_of(step, TRANSFORMS, scope)
    arguments = inspect.signature(kind).parameters if kind is not None else {}
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
    """Changes of the data in an overlay, and their reasons.

    Args:
        variables: by their names, in the order of the file.
        words: a line for each change.
        why_online: why no cache can be read; None where one can.
        divisor: to multiples of how many pixels the data preprocessor must pad; 1 if it need not.
        pad_value: what it must pad with, after it has normalised; None where it pads with that already.
        turned: whether images that were RGB are BGR now, so that the data preprocessor must turn them.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    words: list[tuple[str, str]] = field(default_factory=list)
    why_online: str | None = None
    divisor: int = 1
    pad_value: float | None = None
    turned: bool = False

    def share(self, name: str, pipeline: Pipeline) -> Expression:
        """A variable that holds a pipeline; pipelines that are equal share one."""
        for known, value in self.variables.items():
            if value == pipeline:
                return Expression(known)
        names = (f'{name}_{n}' if n > 1 else name for n in range(1, len(self.variables) + 2))
        free = next(each for each in names if each not in self.variables)
        self.variables[free] = pipeline
        return Expression(free)

    def with_variables(self, name: str, value: Any) -> Any:
        """A value whose pipelines stand in variables."""
        if isinstance(value, Mapping):
            return {
                key: self.share(name, item)
                if key == 'pipeline' and isinstance(item, list)
                else self.with_variables(name, item)
                for key, item in value.items()
            }
        return [self.with_variables(name, item) for item in value] if isinstance(value, list) else value
