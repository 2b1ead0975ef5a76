"""The option `train_dataloader.few_labels`, which changes the data set and the sampler of any config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from lfi.errors import UsageError
from lfi.structures.labels import check_share
from lfi.utils.config_types import configs_in, dataset_configs, leaf_configs, type_name

from .cache_labels import hides_labels
from .pipelines import hooks_of, switched_pipelines

OPTION = 'train_dataloader.few_labels'
COUNTS = ('labels_per_class', 'labelled_images')
ARGUMENTS = (*COUNTS, 'labelled_share', 'seed')
# Suffixes of the steps, mmdet's and our recording ones, that mix an image with earlier ones from a memory.
FROM_MEMORY = ('CachedMosaic', 'CachedMixUp')
# Steps that drop images without annotations unless a flag, which is named with its default, is False.
DROPPING = {'FilterAnnotations': ('keep_empty', True), 'Albu': ('skip_img_without_anno', False)}
# Steps of Albumentations that select pixels by a semantic map, which `lfi.FewLabels` leaves in the pipeline.
BY_MAP = ('CropNonEmptyMaskIfExists', 'MaskDropout')


def set_few_labels(cfg: Config) -> None:
    """Replace the option `train_dataloader.few_labels` by a data set and a sampler.

    `few_labels=dict(labels_per_class=10, labelled_share=0.5, seed=0)` wraps the data set in `lfi.FewLabels`
    and sets the sampler to `lfi.LabelledShareSampler`. Detectors and segmentors need `labelled_images=120` in
    place of `labels_per_class`. The option itself is removed, so that other tools can read the config.

    Args:
        cfg: config of the run, changed in place.

    Raises:
        UsageError: for an unknown argument, for not exactly one of both numbers, or if `labelled_share`
            leaves a batch without labelled or without unlabelled images.
    """
    loader = cfg.get('train_dataloader') or ConfigDict()
    if 'few_labels' not in loader:
        return
    arguments = loader.pop('few_labels')
    if arguments is None:
        return
    unknown = sorted(set(arguments) - set(ARGUMENTS)) if isinstance(arguments, dict) else [repr(arguments)]
    if unknown:
        raise UsageError(f'{OPTION} has {", ".join(unknown)}, but takes {", ".join(ARGUMENTS)}')
    if len([name for name in COUNTS if name in arguments]) != 1:
        raise UsageError(
            f'{OPTION} needs one of labels_per_class, the number of labels of each class, and '
            'labelled_images, the number of images with annotations, for detectors and segmentors'
        )
    if 'dataset' not in loader:
        # The config is for testing only.
        cfg.pop('train_dataloader')
        return
    _check_share(arguments, loader.get('batch_size'))
    chosen = {key: arguments[key] for key in (*COUNTS, 'seed') if key in arguments}
    share = {key: arguments[key] for key in ('labelled_share',) if key in arguments}
    loader.dataset = ConfigDict(type='lfi.FewLabels', dataset=loader.dataset, **chosen)
    loader.sampler = ConfigDict(type='lfi.LabelledShareSampler', **share)
    if loader.get('batch_sampler'):
        # A batch sampler that sorts by shape would break the share.
        loader.batch_sampler = None


def _check_share(arguments: dict, batch_size: int | None) -> None:
    share = arguments.get('labelled_share', 0.5)
    try:
        check_share(share)
    except ValueError as error:
        raise UsageError(f'{OPTION}: {error}') from error
    # With a count of 0, batches have no labelled images.
    has_labels = any(arguments.get(name) for name in COUNTS)
    if batch_size and has_labels and min(share, 1 - share) * batch_size < 1 - 1e-9:
        raise UsageError(
            f'{OPTION}: labelled_share={share!r} of train_dataloader.batch_size={batch_size} is less than '
            'one image with a label, or without: set it nearer to 0.5, or set a larger batch_size'
        )


def check_few_labels(cfg: Config) -> None:
    """Refuse configs that would train on hidden labels or on the label -1.

    Args:
        cfg: config of the run.

    Raises:
        UsageError: if the training data have `lfi.FewLabels` or `lfi.ImageFolder`, and the model is no
            `lfi.Student`, images without labels are mixed with others, as in a mosaic, whose hidden parts
            nothing records, or a step crops or drops images by hidden annotations.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if not _has_few_labels(dataset) or not cfg.get('model'):
        return
    from lfi.models.students.config_facts import is_student, reads_labels

    reads = reads_labels(cfg.model)
    mixing = _mixing_from_memory(cfg, dataset) if reads else None
    if mixing is not None:
        raise UsageError(
            f'train_dataloader: {mixing} would mix images whose labels lfi.FewLabels hides into others, from '
            'a memory that does not record which, and their objects would count as background. Remove the '
            "step, or separate images without labels, in a dict(type='lfi.SemiSupervisedDataset', ...)"
        )
    if reads and _mixes_few_labels(dataset):
        raise UsageError(
            'train_dataloader.dataset has a MultiImageMixDataset around lfi.FewLabels or lfi.ImageFolder: '
            'mixed images without a label would count as negatives. Put the data set without labels beside '
            "it, in a dict(type='lfi.SemiSupervisedDataset', datasets=[...])"
        )
    unfit_step = _step_by_annotations(cfg, dataset)
    if unfit_step is not None:
        name, fix = unfit_step
        raise UsageError(
            f'train_dataloader: its pipeline has the step {name}, which drops or crops images by '
            f'annotations, and lfi.FewLabels hides these: {fix}'
        )
    if not is_student(cfg.model):
        kind = cfg.model.type
        scope = cfg.model.get('_scope_') or cfg.get('default_scope')
        task = f'{scope}.{kind}' if scope and isinstance(kind, str) and '.' not in kind else kind
        raise UsageError(
            f'model.type={kind!r} would learn from the label -1 that lfi.FewLabels and lfi.ImageFolder give '
            f"an image without a label: use type='lfi.Student', task={task!r}"
        )


def _mixing_from_memory(cfg: Config, dataset: Mapping) -> str | None:
    """Return the first step that would mix images with and without known labels, or None."""
    few = [part for part in dataset_configs(dataset) if hides_labels(part)]
    partly_known = [part for part in few if any(part.get(name) for name in COUNTS)]
    first = _switched_dataset(dataset)
    has_both = not all(map(hides_labels, leaf_configs(first, hides_labels))) and _has_few_labels(first)
    pipelines = [*partly_known, *(switched_pipelines(hooks_of(cfg)) if partly_known or has_both else [])]
    names = map(type_name, configs_in(pipelines))
    return next((name for name in names if name.endswith(FROM_MEMORY)), None)


def _switched_dataset(dataset: Mapping) -> Any:
    """Return the data set whose pipelines hooks switch: the first one of a `SemiSupervisedDataset`."""
    return dataset['datasets'][0] if type_name(dataset) == 'SemiSupervisedDataset' else dataset


def _step_by_annotations(cfg: Config, dataset: Mapping) -> tuple[str, str] | None:
    """Return the first step that drops or crops images by hidden annotations, and the fix, or None."""
    few = [part for part in dataset_configs(dataset) if type_name(part) == 'FewLabels']
    inside = {id(config) for config in configs_in(few)}
    scope = cfg.get('default_scope')
    steps = [(step, package) for step, package in _scoped(dataset, scope) if id(step) in inside]
    if any(type_name(part) == 'FewLabels' for part in dataset_configs(_switched_dataset(dataset))):
        steps += _scoped(switched_pipelines(hooks_of(cfg)), scope)
    for step, package in steps:
        name = type_name(step)
        if name in BY_MAP:
            return name, 'remove the step'
        if name in DROPPING and step.get(*DROPPING[name]):
            return name, f'set its {DROPPING[name][0]}=False'
        if name == 'RandomCrop' and step.get('cat_max_ratio', 1) < 1:
            return name, 'remove its cat_max_ratio'
        if name == 'RandomCrop' and package == 'mmdet' and not step.get('allow_negative_crop'):
            return name, 'set its allow_negative_crop=True'
    return None


def _scoped(value: Any, scope: str | None) -> Iterator[tuple[Mapping, str | None]]:
    """Yield all configs with a type, each with its package: outer scopes hold for inner types."""
    if isinstance(value, Mapping):
        scope = value.get('_scope_', scope)
        if 'type' in value:
            kind = value['type']
            name = kind if isinstance(kind, str) else f'{kind.__module__}.'
            yield value, name.partition('.')[0] if '.' in name else scope
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _scoped(part, scope)


def _mixes_few_labels(dataset: object) -> bool:
    mixing = (part for part in dataset_configs(dataset) if type_name(part) == 'MultiImageMixDataset')
    return any(map(_has_few_labels, mixing))


def _has_few_labels(dataset: object) -> bool:
    return any(map(hides_labels, dataset_configs(dataset)))
