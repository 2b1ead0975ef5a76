"""Changes of a config's data: recorded views, unlabelled images, padding by the data preprocessor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import nn

from lfi.engine.pipelines import HOOK_PIPELINE, LOADERS, is_rgb, step_skipping_hook, switched_pipelines
from lfi.errors import UsageError
from lfi.models.batches.mixtures import record_mixtures
from lfi.models.batches.pixel_format import pixel_format_of
from lfi.utils.config_types import leaf_configs, type_name

from .kinds import registered_class
from .pipelines import (
    IMAGE_LOADERS,
    PADS,
    DataChanges,
    Pipeline,
    UnknownViewError,
    apply_changes,
    full_pipeline,
    mixes_images,
    pipeline_changes,
    pipelines_of,
    record_views,
    unlabelled_pipeline,
    without_padding,
)
from .source import Expression

SAMPLER = {'_delete_': True, 'type': 'lfi.LabelledShareSampler', 'labelled_share': 0.5}
DATASET = '{{_base_.train_dataloader.dataset}}'


def adapt_data(
    cfg: Config, scope: str, task_model: Any, folder: str | None, one_size: bool = False
) -> DataChanges:
    """Return the changes of a config's data.

    Args:
        cfg: config of the task.
        scope: registry scope of unscoped types.
        task_model: the task's model, which is modified.
        folder: folder of images without labels, or None.
        one_size: whether the data preprocessor must pad all images to the size of the pipelines. Defaults to
            False.

    Raises:
        UsageError: if the config has no training data, if `one_size` is set and the pipelines do not pad to
            one square size, or if `pixel_format_of` refuses the data preprocessor.
    """
    data = DataChanges()
    loader = cfg.get('train_dataloader') or {}
    if not loader.get('dataset'):
        raise UsageError('the config has no train_dataloader.dataset: there is nothing to learn from')
    dataset = loader['dataset'].to_dict()
    hooks = [hook.to_dict() for hook in cfg.get('custom_hooks') or ()]
    # Raise an error early if a teacher could not read the images' pixels.
    pixel_format_of(task_model.data_preprocessor)
    data.cache_obstacle = _cache_obstacle(dataset, hooks, scope, task_model)

    def change(pipeline: Pipeline) -> Pipeline:
        pipeline = without_padding(pipeline)
        return pipeline if data.cache_obstacle else record_views(pipeline, scope)

    changes = pipeline_changes(dataset, change)
    if folder is not None:
        steps = change(unlabelled_pipeline(_pipeline_of_one_image(dataset, hooks)))
        loader_changes = _add_folder(data, loader, changes, steps, folder)
    else:
        loader_changes = {'dataset': data.with_variables('train_pipeline', changes)} if changes else {}
    if loader_changes:
        data.variables['train_dataloader'] = loader_changes
    data.converted_to_bgr = any(is_rgb(leaf) for leaf in leaf_configs(dataset))
    if data.converted_to_bgr:
        data.summary.append(('colours', 'images are loaded as BGR, and the data preprocessor makes them RGB'))
    _change_hooks(data, hooks, change)
    _change_validation(data, cfg)
    set_padding(data, cfg, task_model.data_preprocessor, one_size)
    if data.cache_obstacle:
        data.summary.append(
            ('training pipeline', f'the teacher is asked in each step: {data.cache_obstacle}')
        )
    else:
        data.summary.append(('training pipeline', _describe_recording(apply_changes(dataset, changes))))
    return data


def _cache_obstacle(dataset: dict, hooks: Sequence[dict], scope: str, task_model: nn.Module) -> str | None:
    """Return the reason why cached maps cannot follow the images, or None if they can."""
    skipping_hook = step_skipping_hook(hooks)
    if skipping_hook:
        return f'{skipping_hook} skips steps of the pipeline by name'
    pipelines = list(pipelines_of(dataset))
    if not any(type_name(step).startswith('Pack') for pipeline in pipelines for step in pipeline):
        return 'no step of the pipeline packs, so the maps would not reach the model'
    loads = any(type_name(step).startswith(IMAGE_LOADERS) for pipeline in pipelines for step in pipeline)
    classes = [registered_class(leaf, DATASETS, scope) for leaf in leaf_configs(dataset)]
    if not loads and not all(getattr(cls, '__module__', '').startswith('lfi.') for cls in classes):
        return 'no step of the pipeline loads images from files, and a cache finds maps by file'
    try:
        for pipeline in [*pipelines, *switched_pipelines(hooks)]:
            record_views(without_padding(pipeline), scope)
        record_mixtures(task_model.get_submodule('data_preprocessor'))
    except (UnknownViewError, ValueError) as error:
        return str(error)
    return None


def _pipeline_of_one_image(dataset: Mapping, hooks: Sequence[dict]) -> Pipeline:
    """Return the steps of an image that is not mixed with others.

    The steps after a mosaic are for its canvas, which is twice as large. mmdet's `PipelineSwitchHook` ends
    the mosaics, and has steps for one image.
    """
    steps = full_pipeline(dataset)
    if not mixes_images(steps):
        return steps
    return next((other for other in switched_pipelines(hooks) if not mixes_images(other)), steps)


def _add_folder(
    data: DataChanges,
    loader: Mapping,
    changes: dict,
    steps: Pipeline,
    folder: str,
) -> dict[str, Any]:
    """Add a folder of images without labels to the training data, with the steps of its pipeline."""
    dataset = loader['dataset'].to_dict()
    labelled: Any = Expression(DATASET)
    if changes:
        labelled = data.with_variables('train_pipeline', apply_changes(dataset, changes))
    images = {
        'type': 'lfi.ImageFolder',
        'data_root': folder,
        'pipeline': data.share('unlabelled_pipeline', steps),
    }
    data.summary.append(
        (
            'training data',
            f'half of each batch is labelled, and half comes from {folder}; an epoch is one pass over the '
            'larger data set',
        )
    )
    batches = {'batch_sampler': None} if loader.get('batch_sampler') else {}
    return {
        'sampler': SAMPLER,
        **batches,
        'dataset': {
            '_delete_': True,
            'type': 'lfi.SemiSupervisedDataset',
            'datasets': [labelled, images],
        },
    }


def _change_hooks(data: DataChanges, hooks: Sequence[dict], change: Callable[[Pipeline], Pipeline]) -> None:
    """Change the pipelines to which hooks switch."""
    changed = [
        {**hook, HOOK_PIPELINE: change(hook[HOOK_PIPELINE])} if HOOK_PIPELINE in hook else hook
        for hook in hooks
    ]
    if changed == hooks:
        return
    data.variables['custom_hooks'] = [
        {**hook, HOOK_PIPELINE: data.share(HOOK_PIPELINE, hook[HOOK_PIPELINE])}
        if HOOK_PIPELINE in hook
        else hook
        for hook in changed
    ]
    data.summary.append(('custom_hooks', 'the pipeline that a hook switches to gets the same changes'))


def _change_validation(data: DataChanges, cfg: Config) -> None:
    """Leave padding to the data preprocessor in validation and test too."""
    for name in ('val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(name) or {}).get('dataset')
        changes = pipeline_changes(dataset.to_dict(), without_padding) if dataset else {}
        if changes:
            data.variables[name] = {'dataset': data.with_variables('test_pipeline', changes)}


def _describe_recording(dataset: Mapping) -> str:
    """Describe the steps that cached maps follow."""
    steps = [step for pipeline in pipelines_of(dataset) for step in pipeline]
    views = [step for step in steps if type_name(step) == 'RecordView']
    # Concatenated data sets often repeat steps.
    moving = dict.fromkeys(type_name(step) for view in views for step in view['transforms'])
    mixing = dict.fromkeys(f'lfi.{type_name(step)}' for step in steps if mixes_images([step]))
    return (
        f'lfi.RecordView records the view ({", ".join(moving) or "the whole image"}), '
        + (f'{", ".join(mixing)} record what they mix, ' if mixing else '')
        + 'and lfi.LoadInteractionMaps reads cached maps'
    )


class Padding(NamedTuple):
    """Padding by a step of a pipeline.

    Args:
        divisor: sides become multiples of it, in pixels; None if not set.
        size: width and height after padding, in pixels; None if not set.
        value: fill value before normalisation, one for all channels or one for each.
    """

    divisor: int | None
    size: Sequence[int] | None
    value: tuple[float, ...]


def paddings(pipeline: Pipeline) -> list[Padding]:
    """Return the padding of each step that pads."""
    steps = [step for step in pipeline if type_name(step) in PADS]
    return [Padding(step.get('size_divisor'), step.get('size'), _step_pad_value(step)) for step in steps]


def set_padding(data: DataChanges, cfg: Config, preprocessor: nn.Module, one_size: bool) -> None:
    """Set the divisor and fill value with which the data preprocessor replaces the pipelines' padding.

    Args:
        data: changes of the data, which are modified.
        cfg: config of the task.
        preprocessor: data preprocessor of the task's model.
        one_size: whether the data preprocessor must pad all images to the size of the pipelines.

    Raises:
        UsageError: if `one_size` is set and the pipelines do not pad to one square size.
    """
    hooks = [hook.to_dict() for hook in cfg.get('custom_hooks') or ()]
    datasets = [cfg[name].dataset.to_dict() for name in LOADERS if (cfg.get(name) or {}).get('dataset')]
    steps = [step for pipeline in (*switched_pipelines(hooks), *pipelines_of(datasets)) for step in pipeline]
    step_paddings = paddings(steps)
    if not step_paddings:
        return
    divisors = [padding.divisor for padding in step_paddings if padding.divisor]
    if one_size:
        divisors += _square_sides(step_paddings)
        for name in LOADERS:
            if cfg.get(name):
                # The default collate function refuses images of several sizes.
                data.variables.setdefault(name, {})['collate_fn'] = {'type': 'pseudo_collate'}
    data.divisor = math.lcm(2, *divisors)
    data.pad_value = _preprocessor_pad_value(step_paddings[-1].value, preprocessor)
    data.summary.append(
        (
            'padding',
            'the data preprocessor pads in place of the pipelines, so that LFI can tell padding from image. '
            'Predictions near the edge differ a little if a pipeline padded to a larger size',
        )
    )


def _step_pad_value(step: Mapping) -> tuple[float, ...]:
    value = step.get('pad_val', 0)
    value = value.get('img', 0) if isinstance(value, Mapping) else value
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _square_sides(step_paddings: Sequence[Padding]) -> list[int]:
    """Return the side of the square to which pipelines pad, in a list; empty if none sets a size.

    Raises:
        UsageError: if the pipelines pad to several sizes or to no square: a data preprocessor cannot.
    """
    sizes = {(width, height) for width, height in (padding.size for padding in step_paddings if padding.size)}
    if any(width != height for width, height in sizes) or len(sizes) > 1:
        raise UsageError(
            f'the pipelines pad to size={" and ".join(map(str, sorted(sizes)))}, but the data preprocessor, '
            'which replaces them, pads to squares of one size only: set one square size in all pipelines'
        )
    return [side for side, _ in sizes]


def _preprocessor_pad_value(value: tuple[float, ...], preprocessor: Any) -> float | None:
    """Return the fill value of a data preprocessor, after normalisation, that replaces a pipeline's.

    All channels get one value, the mean over the pipeline's normalised values. None if the data preprocessor
    pads with that value already, within 0.05 standard deviations.
    """
    form = pixel_format_of(preprocessor)
    channels = value if len(value) == 3 else value * 3
    normalised = [(channel - mean) / std for channel, mean, std in zip(channels, form.mean, form.std)]
    pad_value = round(sum(normalised) / 3, 2)
    return None if abs(pad_value - getattr(preprocessor, 'pad_value', pad_value)) < 0.05 else pad_value
