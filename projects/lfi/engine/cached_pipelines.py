"""Training pipelines that read a teacher's cache: each image's maps, and recorded views."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from lfi.errors import UsageError, as_usage_error
from lfi.structures import CACHE_KEYS
from lfi.structures.interaction_cache import NUM_COMPLETE, CacheManifest, difference
from lfi.utils.config_types import configs_in, type_name
from lfi.utils.repositories import cache_folder
from lfi.utils.stores import is_address

from .labelled_views import find_labelled_cache
from .pipelines import (
    MIXING_PREFIX,
    hooks_of,
    mixes_images,
    refuse_normalised,
    step_skipping_hook,
    switched_pipelines,
    typed_configs,
)

OF_CACHE = ('cache', 'labelled_cache')
"""Arguments of steps that name a cache."""
DECODING = {'color_type': 'color', 'imdecode_backend': 'cv2', 'to_float32': False}
"""Options of `LoadImageFromFile` that change the pixels, with their defaults."""
SCOPES = ('', 'mmcv', 'mmdet', 'mmpretrain', 'mmseg')
"""Scopes in which `LoadImageFromFile` is mmcv's, or inherits from it."""
READING = ('backend_args', 'file_client_args', 'ignore_empty')
"""Options of `LoadImageFromFile` that do not change the pixels."""
OTHER_LOADERS = ('LoadCaptionConcepts', 'LoadHeatMap', 'LoadInteractionMaps', 'LoadProposals', 'LoadRegions')
"""Steps that load no image, beside those that load annotations."""
# Packing steps of OpenMMLab, and the option that lists further keys to pack.
PACKING = {'PackInputs': 'algorithm_keys', 'PackDetInputs': 'meta_keys', 'PackSegInputs': 'meta_keys'}


def set_teacher_cache(cfg: Config) -> None:
    """Set `cache` of each `lfi.LoadInteractionMaps` in the training pipelines to `model.teacher.cache`.

    The config that an earlier run wrote names the caches of that run in these steps, and in
    `lfi.RecordView`; they are replaced, or removed if the teacher is asked online.

    Args:
        cfg: config of the run, changed in place.

    Raises:
        UsageError: if `map_loading_steps` refuses a pipeline or hook, the cache holds maps or views of other
            images or steps, or it cannot be downloaded from the Hub.
    """
    from lfi.models.students.config_facts import cache_of

    if isinstance(cfg.model.get('teacher'), Mapping):
        _remove_caches(cfg)
    cache = cache_of(cfg.model)
    if cache is None:
        return
    # Download once here, and not in each worker.
    cache = cfg.model.teacher.cache = cache_folder(cache)
    steps = map_loading_steps(cfg, cache)
    view_steps: list[dict] = []
    labelled_cache = None
    if is_address(cache) or (Path(cache) / 'manifest.json').is_file():
        manifest = CacheManifest.read(cache)
        _check_loading(cfg, cache, manifest)
        view_steps, labelled_cache = _steps_of_views(cfg, cache, manifest)
    for step in (*steps, *view_steps):
        step['cache'], step['labelled_cache'] = cache, labelled_cache


def _remove_caches(cfg: Config) -> None:
    """Remove the caches that an earlier run set in the steps of the training pipelines."""
    training = [cfg.get('train_dataloader') or {}, *switched_pipelines(hooks_of(cfg))]
    for step in typed_configs(training):
        if type_name(step) in ('LoadInteractionMaps', 'RecordView'):
            for name in OF_CACHE:
                step.pop(name, None)


def _check_loading(cfg: Config, cache: str, manifest: CacheManifest) -> None:
    """Check that a cache was written for images that were decoded as in this training.

    Raises:
        UsageError: if the options of decoding differ.
    """
    loading = loading_options(cfg)
    if manifest.loading != loading:
        raise UsageError(
            f'model.teacher.cache={cache!r} holds maps of images that were loaded with the options '
            f'{manifest.loading}, and here they are loaded with {loading}: set color_type and '
            'imdecode_backend of LoadImageFromFile back, or write another cache'
        )


def map_loading_steps(cfg: Config, cache: str) -> list[dict]:
    """Return the `lfi.LoadInteractionMaps` configs of the training pipelines.

    Args:
        cfg: config of the run.
        cache: folder of the maps, for the error.

    Raises:
        UsageError: if a training pipeline, or a pipeline to which a hook switches, has no
            `lfi.LoadInteractionMaps`, records no views, or does not pack what the step loads; or if a hook
            skips steps by name, as mmdet's `YOLOXModeSwitchHook`, or changes `batch_augments`.
    """
    hooks = hooks_of(cfg)
    skipping = step_skipping_hook(hooks)
    if skipping:
        raise UsageError(
            f'{skipping} skips steps of the pipeline by name, but not those inside lfi.RecordView: ask the '
            'teacher online with teacher.cache=None'
        )
    for hook in hooks:
        if any('batch_augments' in recipe for recipe in hook.get('schedule') or ()):
            raise UsageError(
                f'custom_hooks: {type_name(hook)} changes batch_augments, but cached maps are mixed by the '
                'batch_augments of data_preprocessor: remove batch_augments from the schedule, or ask the '
                'teacher online with teacher.cache=None'
            )
    steps: list[dict] = []
    for part in (cfg.train_dataloader.dataset, *switched_pipelines(hooks)):
        loading_steps = [step for step in typed_configs(part) if type_name(step) == 'LoadInteractionMaps']
        if not loading_steps:
            raise UsageError(
                f'model.teacher.cache={cache!r}: the training pipeline, and each pipeline to which a hook '
                "switches, must read the cache. Put dict(type='lfi.LoadInteractionMaps') before the last "
                'step, and pack `view` and `interaction_maps`, as in configs/_base_/datasets/'
            )
        if not any(type_name(step) == 'RecordView' for step in typed_configs(part)):
            # A mosaic leaves some images as they are, and records nothing of these.
            raise UsageError(
                'train_dataloader: its pipeline records no view, but cached maps are warped to the view: put '
                "the steps that move pixels into dict(type='lfi.RecordView', transforms=[...]). If only "
                'steps such as lfi.RecordedMosaic move them, put it before these with transforms=[]'
            )
        for step in typed_configs(part):
            _check_packing(step)
        steps += loading_steps
    return steps


def _check_packing(step: Mapping) -> None:
    """Refuse a packing step of OpenMMLab that drops a key for the cached teacher."""
    name = type_name(step)
    if name not in PACKING:
        return
    option = PACKING[name]
    packed = {*step.get('algorithm_keys', ()), *step.get('meta_keys', ())}
    missing = [key for key in CACHE_KEYS if key not in packed]
    if missing:
        raise UsageError(
            f'train_dataloader: its pipeline packs by {name} and drops {missing[0]!r}, which a cached '
            f'teacher reads: add {CACHE_KEYS} to its {option}'
        )


def _steps_of_views(cfg: Config, cache: str, manifest: CacheManifest) -> tuple[list[dict], str | None]:
    """Return the `lfi.RecordView` configs that draw a cache's views again, and the labelled images' cache.

    Both are empty if no views are drawn.

    Raises:
        UsageError: if the cache holds views of other steps, or training shows none of these views.
    """
    if not manifest.has_drawn_views:
        return [], None
    check_drawn_views(cfg)
    mismatch = difference('recipe', manifest.recipe, view_recipe(cfg))
    if mismatch:
        raise UsageError(
            f'model.teacher.cache={cache!r} holds views of other transforms: {mismatch}. Set them back, or '
            'write another cache by lfi cache --views with the config of this training'
        )
    labelled = None if manifest.has_sidecars else find_labelled_cache(cfg, cache, manifest)
    return _view_steps(cfg.train_dataloader.dataset), labelled


def check_view_steps(cfg: Config) -> None:
    """Build each `lfi.RecordView` of the training data, as training will.

    Raises:
        UsageError: if the view of a step cannot be recorded.
    """
    for step in _view_steps(cfg.train_dataloader.dataset):
        with as_usage_error(ValueError, TypeError):
            TRANSFORMS.build(step)


def check_drawn_views(cfg: Config) -> None:
    """Check that a training can draw the views of a cache again.

    Raises:
        UsageError: if a step mixes images, a hook switches the pipeline, a step holds a `RecordView`, or one
            before it changes what is loaded.
    """
    if mixes_images(cfg):
        raise UsageError(
            f'train_dataloader: a step lfi.{MIXING_PREFIX}* shows several images, and drawn views are of '
            f'single images: use at most --views {NUM_COMPLETE}'
        )
    if switched_pipelines(hooks_of(cfg)):
        raise UsageError(
            'custom_hooks: a hook switches the pipeline, and drawn views are of one pipeline: use at most '
            f'--views {NUM_COMPLETE}'
        )

    # Imported here because it imports mmpretrain.
    from lfi.datasets import with_recorded_views

    drawn = with_recorded_views(cfg.train_dataloader.dataset)
    if len(_view_steps(drawn)) < len(_view_steps(cfg.train_dataloader.dataset)):
        raise UsageError(
            'train_dataloader: a lfi.RecordView stands inside another step, and its views cannot be drawn '
            f'again: put it into the pipeline itself, or use at most --views {NUM_COMPLETE}'
        )

    for pipeline in _pipelines(cfg.train_dataloader.dataset):
        names = [type_name(step) for step in pipeline]
        last = max((i for i, name in enumerate(names) if name == 'RecordView'), default=0)
        changing = [name for name in names[:last] if not name.startswith(('Load', 'RecordView'))]
        if changing:
            raise UsageError(
                f'train_dataloader: the step {changing[0]} stands before lfi.RecordView, and views are drawn '
                'from images as they are loaded: move the step into lfi.RecordView or behind it, or use at '
                f'most --views {NUM_COMPLETE}'
            )

    refuse_normalised(typed_configs(_view_steps(cfg.train_dataloader.dataset)), 'train_dataloader')


def _pipelines(value: object) -> Iterator[Sequence[dict]]:
    """Iterate over the pipelines of a data set and of those inside it."""
    for config in configs_in(value):
        if isinstance(pipeline := config.get('pipeline'), list | tuple):
            yield pipeline


def loading_options(cfg: Config) -> list | None:
    """Return the options by which training images are loaded in another way than by default.

    Returns:
        The options of `LoadImageFromFile` that change pixels, and all of a loader of another type. None if
        images are loaded by `LoadImageFromFile` with its defaults.

    Raises:
        UsageError: if data sets, or pipelines to which hooks switch, load images in different ways.
    """
    found = [*_steps_of_leaves(cfg.train_dataloader.dataset, _loaders)]
    found += map(_loaders, switched_pipelines(hooks_of(cfg)))
    other = next((loaders for loaders in found if loaders != found[0]), None)
    if other is not None:
        raise UsageError(
            'train_dataloader: data sets, or pipelines to which a hook switches, load images in different '
            f'ways, by {found[0] or "the defaults"} and by {other or "the defaults"}, and a cache has the '
            'maps of one way: give all the same loading steps'
        )
    return found[0] or None


def _loaders(part: object) -> list[dict]:
    """Return the loading steps of a data set or a pipeline that do not load images by default."""
    loaders = []
    for step in typed_configs(part):
        name = type_name(step)
        if name == 'LoadImageFromFile' and _scope_of(step) in SCOPES:
            # A step that inherits from mmcv's may have further options.
            options = {key: value for key, value in step.items() if key not in ('type', *READING)}
            step = {key: value for key, value in options.items() if value != DECODING.get(key)}
        elif not name.startswith('Load') or name in OTHER_LOADERS or _loads_annotations(name):
            continue
        loaders += [step] if step else []
    return _plain_steps(loaders)


def _scope_of(step: dict) -> str:
    """Return the scope of a step's type, or the package of its class."""
    kind = step['type']
    if isinstance(kind, type):
        return kind.__module__.partition('.')[0]
    return str(kind).rpartition('.')[0]


def _loads_annotations(name: str) -> bool:
    return name.endswith(('Annotation', 'Annotations')) and 'Image' not in name


def view_recipe(cfg: Config) -> list[dict]:
    """Return the steps that draw the views of training images.

    Raises:
        UsageError: if data sets draw views by different steps.
    """
    recipes = [_plain_steps(steps) for steps in _steps_of_leaves(cfg.train_dataloader.dataset, _view_steps)]
    if any(recipe != recipes[0] for recipe in recipes):
        raise UsageError(
            'train_dataloader: data sets have different lfi.RecordView, and a cache has the views of one: '
            f'give all the same steps, or use at most --views {NUM_COMPLETE}'
        )
    return recipes[0]


def _steps_of_leaves(
    dataset: Any, find: Callable[[object], list[dict]], outer: Sequence[dict] = ()
) -> Iterator[list[dict]]:
    """Yield the steps of each data set that reads images, and behind them those of its wrappers.

    Args:
        dataset: config of a data set, or a list of configs.
        find: function from a config to the steps of interest in it.
        outer: steps of the wrappers around the data set. Defaults to none.
    """
    if isinstance(dataset, list | tuple):
        for config in dataset:
            yield from _steps_of_leaves(config, find, outer)
        return
    inner = dataset.get('dataset', dataset.get('datasets'))
    if inner is None:
        yield [*find(dataset), *outer]
    else:
        yield from _steps_of_leaves(inner, find, [*find(dataset.get('pipeline')), *outer])


def _plain_steps(steps: list[dict]) -> list[dict]:
    """Convert configs of steps to plain JSON data, without the folder of a cache."""
    without_cache = [{key: value for key, value in step.items() if key not in OF_CACHE} for step in steps]
    plain: list[dict] = json.loads(json.dumps(without_cache, default=_name_of))
    return plain


def _name_of(value: object) -> object:
    """Return what JSON holds for a value of another type, such as the class of a lazy config."""
    return value.__name__ if isinstance(value, type) else repr(value)


def _view_steps(dataset: object) -> list[dict]:
    return [step for step in typed_configs(dataset) if type_name(step) == 'RecordView']
