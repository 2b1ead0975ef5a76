"""Changes of a config's data, and padding that moves from its pipelines to the data preprocessor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import nn

from lfi.engine.pipelines import LOADERS, SWITCHED, is_rgb, leaving_out, switched_pipelines
from lfi.errors import UsageError
from lfi.models.batches.mixtures import record_mixtures
from lfi.models.batches.pixel_format import pixel_format
from lfi.utils.config_types import leaves, type_name

from .kinds import kind_of
from .pipelines import (
    PADS,
    READERS,
    DataChanges,
    Pipeline,
    UnknownViewError,
    chain_of,
    mixes,
    of_datasets,
    overlaid,
    pipelines_of,
    recorded,
    unlabelled,
    without_padding,
)
from .source import Expression

SAMPLER = {'_delete_': True, 'type': 'lfi.LabelledShareSampler', 'labelled_share': 0.5}
DATASET = '{{_base_.train_dataloader.dataset}}'


def changed_data(
    cfg: Config, scope: str, plain: Any, folder: str | None, one_size: bool = False
) -> DataChanges:
    """What an overlay says of a config's data.

    Args:
        cfg: of the task.
        scope: where types are looked up that name no scope.
        plain: the task's model; it is changed.
        folder: of further images without labels, or None.
        one_size: whether all images must come out as large as the pipelines padded them. Defaults to False.

    Raises:
        UsageError: if the config has no training data, or images of one size are padded to no square; or
            as `pixel_format` says.
    """
    found = DataChanges()
    loader = cfg.get('train_dataloader') or {}
    if not loader.get('dataset'):
        raise UsageError('the config has no train_dataloader.dataset: there is nothing to learn from')
    dataset = loader['dataset'].to_dict()
    hooks = [hook.to_dict() for hook in cfg.get('custom_hooks') or ()]
    # It raises where a teacher could not know the pixels.
    pixel_format(plain.data_preprocessor)
    found.why_online = _why_online(dataset, hooks, scope, plain)

    def change(pipeline: Pipeline) -> Pipeline:
        pipeline = without_padding(pipeline)
        return pipeline if found.why_online else recorded(pipeline, scope)

    changes = of_datasets(dataset, change)
    if folder is not None:
        loader_changes = _beside_folder(found, loader, changes, change, folder)
    else:
        loader_changes = {'dataset': found.with_variables('train_pipeline', changes)} if changes else {}
    if loader_changes:
        found.variables['train_dataloader'] = loader_changes
    found.turned = any(is_rgb(leaf) for leaf in leaves(dataset))
    if found.turned:
        found.words.append(
            ('colours', 'the images are BGR, as those of files, and the data preprocessor turns them to RGB')
        )
    _change_hooks(found, hooks, change)
    _change_validation(found, cfg)
    note_padding(found, cfg, plain.data_preprocessor, one_size)
    if found.why_online:
        found.words.append(('training pipeline', f'the teacher is asked in each step: {found.why_online}'))
    else:
        found.words.append(('training pipeline', _recorded_in_words(overlaid(dataset, changes))))
    return found


def _why_online(dataset: dict, hooks: Sequence[dict], scope: str, plain: nn.Module) -> str | None:
    """Why the maps of a cache cannot follow the images; None where they can."""
    switching = leaving_out(hooks)
    if switching:
        return f'{switching} leaves out steps of the pipeline by their names'
    pipelines = list(pipelines_of(dataset))
    if not any(type_name(step).startswith('Pack') for pipeline in pipelines for step in pipeline):
        return 'no step of the pipeline packs, so that nothing could pass the maps on'
    reads = any(type_name(step).startswith(READERS) for pipeline in pipelines for step in pipeline)
    kinds = [kind_of(leaf, DATASETS, scope) for leaf in leaves(dataset)]
    if not reads and not all(getattr(kind, '__module__', '').startswith('lfi.') for kind in kinds):
        return 'no step of the pipeline loads images from files, by which a cache knows them'
    try:
        for pipeline in [*pipelines, *switched_pipelines(hooks)]:
            recorded(without_padding(pipeline), scope)
        record_mixtures(plain.get_submodule('data_preprocessor'))
    except (UnknownViewError, ValueError) as error:
        return str(error)
    return None


def _beside_folder(
    found: DataChanges,
    loader: Mapping,
    changes: dict,
    change: Callable[[Pipeline], Pipeline],
    folder: str,
) -> dict[str, Any]:
    """The training data with a folder of images without labels beside them."""
    dataset = loader['dataset'].to_dict()
    labelled: Any = Expression(DATASET)
    if changes:
        labelled = found.with_variables('train_pipeline', overlaid(dataset, changes))
    steps = change(unlabelled(chain_of(dataset)))
    images = {
        'type': 'lfi.ImageFolder',
        'data_root': folder,
        'pipeline': found.share('unlabelled_pipeline', steps),
    }
    found.words.append(
        (
            'training data',
            f'the images of {folder} beside the labelled ones, half of each batch from either; an epoch '
            'is one pass over the larger of both',
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


def _change_hooks(found: DataChanges, hooks: Sequence[dict], change: Callable[[Pipeline], Pipeline]) -> None:
    """Change the pipelines to which hooks switch."""
    changed = [{**hook, SWITCHED: change(hook[SWITCHED])} if SWITCHED in hook else hook for hook in hooks]
    if changed == hooks:
        return
    found.variables['custom_hooks'] = [
        {**hook, SWITCHED: found.share(SWITCHED, hook[SWITCHED])} if SWITCHED in hook else hook
        for hook in changed
    ]
    found.words.append(('custom_hooks', 'the pipeline that a hook switches to is changed likewise'))


def _change_validation(found: DataChanges, cfg: Config) -> None:
    """Leave padding to the data preprocessor in validation and test too."""
    for name in ('val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(name) or {}).get('dataset')
        changes = of_datasets(dataset.to_dict(), without_padding) if dataset else {}
        if changes:
            found.variables[name] = {'dataset': found.with_variables('test_pipeline', changes)}


def _recorded_in_words(dataset: Mapping) -> str:
    """What a cache can follow."""
    steps = [step for pipeline in pipelines_of(dataset) for step in pipeline]
    views = [step for step in steps if type_name(step) == 'RecordView']
    # Data sets that are joined often have the same steps.
    moving = dict.fromkeys(type_name(step) for view in views for step in view['transforms'])
    mixing = dict.fromkeys(f'lfi.{type_name(step)}' for step in steps if mixes([step]))
    return (
        f'lfi.RecordView notes what a view shows ({", ".join(moving) or "all of it"}), '
        + (f'{", ".join(mixing)} what they mix, ' if mixing else '')
        + 'and lfi.LoadInteractionMaps reads the maps of a cache'
    )


class Padding(NamedTuple):
    """How a step of a pipeline pads images.

    Args:
        divisor: to multiples of how many pixels; None where the step does not say.
        size: to which width and height; None where the step does not say.
        value: what with, before they are normalised: a value for all channels, or one for each.
    """

    divisor: int | None
    size: Sequence[int] | None
    value: tuple[float, ...]


def paddings(pipeline: Pipeline) -> list[Padding]:
    """How the steps of a pipeline pad, of those that do."""
    steps = [step for step in pipeline if type_name(step) in PADS]
    return [Padding(step.get('size_divisor'), step.get('size'), _value_of(step)) for step in steps]


def note_padding(found: DataChanges, cfg: Config, preprocessor: nn.Module, one_size: bool) -> None:
    """Note how far the pipelines of a config padded, and with what.

    Args:
        found: what the overlay says of the data; it is changed.
        cfg: of the task.
        preprocessor: the data preprocessor of the task's model.
        one_size: whether all images must come out as large as the pipelines padded them.

    Raises:
        UsageError: if images of one size are padded to no square.
    """
    hooks = [hook.to_dict() for hook in cfg.get('custom_hooks') or ()]
    datasets = [cfg[name].dataset.to_dict() for name in LOADERS if (cfg.get(name) or {}).get('dataset')]
    steps = [step for pipeline in (*switched_pipelines(hooks), *pipelines_of(datasets)) for step in pipeline]
    padded = paddings(steps)
    if not padded:
        return
    divisors = [padding.divisor for padding in padded if padding.divisor]
    if one_size:
        divisors += _one_size(padded)
        for name in LOADERS:
            if cfg.get(name):
                # The data preprocessor makes a batch of images of several sizes.
                found.variables.setdefault(name, {})['collate_fn'] = {'type': 'pseudo_collate'}
    found.divisor = math.lcm(2, *divisors)
    found.pad_value = _pad_value(padded[-1].value, preprocessor)
    found.words.append(
        (
            'padding',
            'the pipelines pad no more, and the data preprocessor does: it says what of a batch is '
            'image. Where a pipeline padded further, predictions near the edge differ a little',
        )
    )


def _value_of(step: Mapping) -> tuple[float, ...]:
    value = step.get('pad_val', 0)
    value = value.get('img', 0) if isinstance(value, Mapping) else value
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _one_size(padded: Sequence[Padding]) -> list[int]:
    """The side of the square to which pipelines pad, where they say a size.

    Raises:
        UsageError: if they pad to another size, which no data preprocessor does.
    """
    sizes = {(width, height) for width, height in (padding.size for padding in padded if padding.size)}
    if any(width != height for width, height in sizes) or len(sizes) > 1:
        raise UsageError(
            f'the pipelines pad to size={" and ".join(map(str, sorted(sizes)))}, and the data preprocessor, '
            'which must do it for them, to squares of one size: pad to one'
        )
    return [side for side, _ in sizes]


def _pad_value(value: tuple[float, ...], preprocessor: Any) -> float | None:
    """The value of a pipeline's padding as a data preprocessor pads, which has normalised before.

    It pads all channels with one value: the mean over those of the pipeline. None where it does so already,
    to a twentieth of a standard deviation.
    """
    form = pixel_format(preprocessor)
    channels = value if len(value) == 3 else value * 3
    normalised = [(each - mean) / std for each, mean, std in zip(channels, form.mean, form.std)]
    found = round(sum(normalised) / 3, 2)
    return None if abs(found - getattr(preprocessor, 'pad_value', found)) < 0.05 else found
