"""Check for pipeline steps that move pixels outside `lfi.RecordView`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import Compose, RandomApply, RandomChoice
from mmengine.registry import TRANSFORMS

from lfi.errors import UsageError
from lfi.registry import TASK_TYPES

from .view_rules import moves_nothing

# Prefixes of steps that load, pack or drop annotations.
HARMLESS = ('Load', 'Pack', 'Filter')


def refuse_unrecorded_steps(dataset: object, scope: str | None = None) -> None:
    """Refuse pipeline steps that would misalign images and their cached maps.

    The maps are warped into the view that `lfi.RecordView` records. A step outside it may load, pack or
    change colours. It may also be a transform of LFI that records its sources, such as `lfi.RecordedMosaic`.
    Other steps may show another part of the image, or several images.

    Args:
        dataset: config of the training data, with data sets inside it at any depth.
        scope: registry scope of types without a scope. Defaults to None: the current scope.

    Raises:
        UsageError: if a pipeline reads a cache, and a step outside `lfi.RecordView` may move pixels.
    """
    steps = list(_steps(dataset, scope))
    cached = any(name == 'LoadInteractionMaps' and step.get('cache') is not None for name, _, step in steps)
    if not cached:
        return
    for name, kind, _ in steps:
        if not (name.startswith(HARMLESS) or _is_ours(kind) or moves_nothing(kind)):
            replacement = f'Recorded{name}'
            fix = (
                f'Use lfi.{replacement}, which records what it mixes'
                if replacement in TASK_TYPES
                else 'Put it into RecordView, which records it or names what it cannot record'
            )
            raise UsageError(
                f'train_dataloader: its pipeline has the step {name} outside lfi.RecordView, so the cached '
                f'maps may not fit its output. {fix}; or set teacher.cache=None to ask the teacher online'
            )


def _is_ours(kind: Any) -> bool:
    return getattr(kind, '__module__', '').startswith('lfi.')


def _steps(value: object, scope: str | None) -> Iterator[tuple[str, Any, dict]]:
    """Yield name, type (None if unknown) and config of each step of the pipelines at any depth."""
    if isinstance(value, dict):
        scope = value.get('_scope_', scope)
        for key, inner in value.items():
            yield from (_leaves if key == 'pipeline' else _steps)(inner, scope)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _steps(inner, scope)


def _leaves(step: object, scope: str | None) -> Iterator[tuple[str, Any, dict]]:
    """Yield the steps of a pipeline, with compositions such as `RandomChoice` replaced by their steps."""
    if isinstance(step, list | tuple):
        for inner in step:
            yield from _leaves(inner, scope)
        return
    if not isinstance(step, dict):
        # A transform that is built already, or None.
        if step is not None:
            yield type(step).__name__, type(step), {}
        return
    scope, kind = step.get('_scope_', scope), step['type']
    name = kind if isinstance(kind, str) else kind.__name__
    if isinstance(kind, str):
        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    is_composition = isinstance(kind, type) and issubclass(kind, Compose | RandomApply | RandomChoice)
    if is_composition and 'transforms' in step:
        yield from _leaves(step['transforms'], scope)
    else:
        yield name.replace('/', '.').split('.')[-1], kind, step
