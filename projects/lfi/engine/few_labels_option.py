"""The option `train_dataloader.few_labels`, which changes the data set and the sampler of any config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from lfi.errors import UsageError
from lfi.structures.labels import check_share
from lfi.utils.config_types import configs_in, dataset_configs, leaf_configs, model_config, type_name

from .pipelines import hooks_of, recipes_of, switched_pipelines

UNLABELLED_TYPES = ('FewLabels', 'ImageFolder')
"""Types of data sets that hide labels or have none."""
OPTION = 'train_dataloader.few_labels'
COUNTS = ('labels_per_class', 'labelled_images')
ARGUMENTS = (*COUNTS, 'labelled_share', 'seed')
# Name suffixes of the steps of mmdet and LFI that mix an image with earlier images from a memory.
MEMORY_STEPS = ('CachedMosaic', 'CachedMixUp')
# Steps that drop images without annotations if a flag is True: step to flag and its default.
DROPPING_FLAGS = {'FilterAnnotations': ('keep_empty', True), 'Albu': ('skip_img_without_anno', False)}
# Steps of Albumentations that select pixels by the segmentation map, which `lfi.FewLabels` does not remove.
SEGMENTATION_STEPS = ('CropNonEmptyMaskIfExists', 'MaskDropout')


def set_few_labels(cfg: Config) -> None:
    """Replace the option `train_dataloader.few_labels` by a data set and a sampler.

    `few_labels=dict(labels_per_class=10, labelled_share=0.5, seed=0)` wraps the data set in `lfi.FewLabels`
    and sets the sampler to `lfi.LabelledShareSampler`. Detectors, segmentors and images of several labels
    need `labelled_images=120` in place of `labels_per_class`. The option itself is removed, so that other
    tools can read the config.

    Args:
        cfg: config of the run, changed in place.

    Raises:
        UsageError: if an argument is unknown, both or neither of `labels_per_class` and `labelled_images` are
            set, or `labelled_share` leaves a batch without labelled or without unlabelled images.
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
            'labelled_images, the number of images with annotations, for detectors, segmentors and images '
            'of several labels'
        )
    if 'dataset' not in loader:
        # The config is for testing only.
        cfg.pop('train_dataloader')
        return
    _check_share(arguments, loader.get('batch_size'))
    dataset_options = {key: arguments[key] for key in (*COUNTS, 'seed') if key in arguments}
    sampler_options = {key: arguments[key] for key in ('labelled_share',) if key in arguments}
    loader.dataset = ConfigDict(type='lfi.FewLabels', dataset=loader.dataset, **dataset_options)
    loader.sampler = ConfigDict(type='lfi.LabelledShareSampler', **sampler_options)
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
            f'{OPTION}: labelled_share={share!r} of train_dataloader.batch_size={batch_size} leaves a batch '
            'without labelled or without unlabelled images: set it nearer to 0.5, or set a larger batch_size'
        )


def check_few_labels(cfg: Config) -> None:
    """Refuse configs that would train on hidden labels or on the label -1.

    Args:
        cfg: config of the run.

    Raises:
        UsageError: if the training data have `lfi.FewLabels` or `lfi.ImageFolder`, and the model is no
            `lfi.Student`, a step mixes images without labels into others and does not record which, a step
            crops or drops images by hidden annotations, the data preprocessor or a hook mixes images, as
            Mixup does, or the sampler is mmdet's `ClassAwareSampler`.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if not _has_few_labels(dataset) or not cfg.get('model'):
        return
    from lfi.models.students.config_facts import is_student, reads_labels

    if type_name(cfg.train_dataloader.get('sampler') or {}) == 'ClassAwareSampler':
        raise UsageError(
            'train_dataloader.sampler=ClassAwareSampler reads the classes of all images, and lfi.FewLabels '
            "and lfi.ImageFolder have images without a label: use dict(type='lfi.LabelledShareSampler')"
        )
    trains_on_labels = reads_labels(cfg.model)
    memory_step = _step_with_memory(cfg, dataset) if trains_on_labels else None
    if memory_step is not None:
        raise UsageError(
            f'train_dataloader: {memory_step} would mix in images from its memory, which does not record '
            'whose labels lfi.FewLabels hides: objects of these images would count as background. Remove the '
            "step, or separate images without labels, in a dict(type='lfi.SemiSupervisedDataset', ...)"
        )
    if trains_on_labels and _mixes_few_labels(dataset):
        raise UsageError(
            'train_dataloader.dataset has a MultiImageMixDataset around lfi.FewLabels or lfi.ImageFolder: '
            'mixed images without a label would count as negatives. Put the data set without labels beside '
            "the wrapper, in a dict(type='lfi.SemiSupervisedDataset', datasets=[...])"
        )
    unfit_step = _step_by_annotations(cfg, dataset)
    if unfit_step is not None:
        name, fix = unfit_step
        raise UsageError(
            f'train_dataloader: its pipeline has the step {name}, which drops or crops images by '
            f'annotations, and lfi.FewLabels hides these: {fix}'
        )
    if any(recipe.get('batch_augments') for recipe in recipes_of(hooks_of(cfg))):
        raise UsageError(
            'custom_hooks: the schedule of a hook adds batch_augments, such as Mixup, which mix the labels '
            'of all images, but lfi.FewLabels and lfi.ImageFolder have images without a label: remove '
            'batch_augments from the schedule'
        )
    if _mixes_labels(cfg):
        raise UsageError(
            'data_preprocessor makes scores of labels (to_onehot, or batch_augments such as Mixup and '
            'CutMix), but lfi.FewLabels and lfi.ImageFolder have images without a label: remove these '
            'options, and augments of model.train_cfg'
        )
    if not is_student(cfg.model):
        kind = cfg.model.type
        scope = cfg.model.get('_scope_') or cfg.get('default_scope')
        task = f'{scope}.{kind}' if scope and isinstance(kind, str) and '.' not in kind else kind
        raise UsageError(
            f'model.type={kind!r} would learn from the label -1 that lfi.FewLabels and lfi.ImageFolder give '
            f"an image without a label: use type='lfi.Student', task={task!r}"
        )


def _mixes_labels(cfg: Config) -> bool:
    """Whether mmpretrain's data preprocessor makes scores of labels. Others pad by their `batch_augments`."""
    model = model_config(cfg)
    preprocessor = model.get('data_preprocessor') or {}
    options = [preprocessor.get('to_onehot'), preprocessor.get('batch_augments')]
    if type_name(preprocessor) not in ('', 'ClsDataPreprocessor'):
        options = []
    return any([*options, (model.get('train_cfg') or {}).get('augments')])


def _step_with_memory(cfg: Config, dataset: Mapping) -> str | None:
    """Return the name of the first step that may mix images with known and with hidden labels, or None."""
    few_labels = [part for part in dataset_configs(dataset) if hides_labels(part)]
    partly_known = [part for part in few_labels if any(part.get(name) for name in COUNTS)]
    switched = _switched_dataset(dataset)
    is_mixed = not all(map(hides_labels, leaf_configs(switched, hides_labels))) and _has_few_labels(switched)
    pipelines = [*partly_known, *(switched_pipelines(hooks_of(cfg)) if partly_known or is_mixed else [])]
    names = map(type_name, configs_in(pipelines))
    return next((name for name in names if name.endswith(MEMORY_STEPS)), None)


def _switched_dataset(dataset: Mapping) -> Any:
    """Return the data set whose pipelines hooks switch: the first one of a `SemiSupervisedDataset`."""
    return dataset['datasets'][0] if type_name(dataset) == 'SemiSupervisedDataset' else dataset


def _step_by_annotations(cfg: Config, dataset: Mapping) -> tuple[str, str] | None:
    """Return the first step that drops or crops images by hidden annotations, as (name, fix), or None."""
    few_labels = [part for part in dataset_configs(dataset) if type_name(part) == 'FewLabels']
    hidden_ids = {id(config) for config in configs_in(few_labels)}
    scope = cfg.get('default_scope')
    steps = [(step, package) for step, package in _with_package(dataset, scope) if id(step) in hidden_ids]
    if any(type_name(part) == 'FewLabels' for part in dataset_configs(_switched_dataset(dataset))):
        steps += _with_package(switched_pipelines(hooks_of(cfg)), scope)
    for step, package in steps:
        name = type_name(step)
        if name in SEGMENTATION_STEPS:
            return name, 'remove the step'
        if name in DROPPING_FLAGS and step.get(*DROPPING_FLAGS[name]):
            return name, f'set its {DROPPING_FLAGS[name][0]}=False'
        if name == 'RandomCrop' and step.get('cat_max_ratio', 1) < 1:
            return name, 'remove its cat_max_ratio'
        if name == 'RandomCrop' and package == 'mmdet' and not step.get('allow_negative_crop'):
            return name, 'set its allow_negative_crop=True'
    return None


def _with_package(value: Any, scope: str | None) -> Iterator[tuple[Mapping, str | None]]:
    """Yield (config, package) for all configs with a type, at any depth. Inner configs inherit the scope."""
    if isinstance(value, Mapping):
        scope = value.get('_scope_', scope)
        if 'type' in value:
            kind = value['type']
            name = kind if isinstance(kind, str) else f'{kind.__module__}.'
            yield value, name.partition('.')[0] if '.' in name else scope
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _with_package(part, scope)


def _mixes_few_labels(dataset: object) -> bool:
    mixing = (part for part in dataset_configs(dataset) if type_name(part) == 'MultiImageMixDataset')
    return any(map(_has_few_labels, mixing))


def _has_few_labels(dataset: object) -> bool:
    return any(map(hides_labels, dataset_configs(dataset)))


def hides_labels(dataset: dict) -> bool:
    """Whether the data set of a config is `lfi.FewLabels` or `lfi.ImageFolder`."""
    return type_name(dataset) in UNLABELLED_TYPES
