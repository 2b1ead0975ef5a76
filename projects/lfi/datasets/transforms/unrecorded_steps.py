"""Steps of a training pipeline that move pixels where `lfi.RecordView` does not see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import Compose, RandomApply, RandomChoice
from mmengine.registry import TRANSFORMS

from lfi.errors import UsageError
from lfi.registry import TASK_TYPES

from .view_rules import moves_nothing

# They read what belongs to an image, leave out annotations, or gather what is there.
HARMLESS = ('Load', 'Pack', 'Filter')


def refuse_unrecorded_steps(dataset: object, scope: str | None = None) -> None:
    """Refuse the steps that would part images from the maps that a cache holds of them.

    The maps are warped into the view that `lfi.RecordView` records. A step outside it may load, pack, change
    colours, or be one of ours; all others may show another part of the image, or several images.
    `lfi.RecordedMosaic` and its like are ours, and note what they show.

    Args:
        dataset: config of the training data, with the data sets that it wraps.
        scope: where types are looked up that name no scope; None for the current one. Defaults to None.

    Raises:
        UsageError: if a pipeline reads a cache, and one has such a step; the message names it.
    """
    steps = list(_steps(dataset, scope))
    cached = any(name == 'LoadInteractionMaps' and step.get('cache') is not None for name, _, step in steps)
    if not cached:
        return
    for name, kind, _ in steps:
        if not (name.startswith(HARMLESS) or _is_ours(kind) or moves_nothing(kind)):
            instead = f'Recorded{name}'
            fix = (
                f'Use lfi.{instead}, which notes what it mixes'
                if instead in TASK_TYPES
                else 'Put it into RecordView, which follows it or says why not'
            )
            raise UsageError(
                f'train_dataloader: its pipeline has the step {name} outside lfi.RecordView, so the cached '
                f'maps may not be those of what it shows. {fix}; or ask the teacher online, by '
                'teacher.cache=None'
            )


def _is_ours(kind: Any) -> bool:
    return getattr(kind, '__module__', '').startswith('lfi.')


def _steps(value: object, scope: str | None) -> Iterator[tuple[str, Any, dict]]:
    """Name, type (None if unknown) and config of each step of the pipelines at any depth."""
    if isinstance(value, dict):
        scope = value.get('_scope_', scope)
        for key, inner in value.items():
            yield from (_leaves if key == 'pipeline' else _steps)(inner, scope)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _steps(inner, scope)


def _leaves(step: object, scope: str | None) -> Iterator[tuple[str, Any, dict]]:
    """The single steps of a pipeline, in place of what only runs or chooses among others."""
    if isinstance(step, list | tuple):
        for inner in step:
            yield from _leaves(inner, scope)
        return
    if not isinstance(step, dict):
        # Built already, or no step at all.
        if step is not None:
            yield type(step).__name__, type(step), {}
        return
    scope, kind = step.get('_scope_', scope), step['type']
    name = kind if isinstance(kind, str) else kind.__name__
    if isinstance(kind, str):
        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    holds = isinstance(kind, type) and issubclass(kind, Compose | RandomApply | RandomChoice)
    if holds and 'transforms' in step:
        yield from _leaves(step['transforms'], scope)
    else:
        yield name.replace('/', '.').split('.')[-1], kind, step
