"""Concepts from the class names of a data set or of a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

from lfi.concepts import concept_names
from lfi.errors import UsageError
from lfi.registry import DATASETS as LFI_DATASETS
from lfi.utils.config_types import configs_in, leaf_configs

from .kinds import registered_class, scoped_type, without_downloads

FIX = 'Give a file with one name a line, in the order of the labels: --concepts FILE'


def dataset_concepts(dataset: Mapping, scope: str) -> tuple[Any, list[str]]:
    """Return `concepts` for a teacher's config, from the class names of a data set.

    Names are looked up in the data set's config, then in its class, then on disk. Underscores in names become
    spaces.

    Args:
        dataset: config of the training data.
        scope: registry scope of unscoped types.

    Returns:
        The `concepts`, a config or a list of texts; and the class names in the order of the labels.

    Raises:
        UsageError: if the data set names no classes.
    """
    config = next(leaf_configs(dataset), None)
    if not config:
        raise UsageError(f'the config has no train_dataloader.dataset, which would name the classes. {FIX}')
    option = (config.get('metainfo') or {}).get('classes', config.get('classes'))
    if option is not None:
        names = _read_lines(option) if isinstance(option, str) else [str(name) for name in option]
        return _as_texts(names), names
    dataset_class = registered_class(config, DATASETS, scope)
    if dataset_class is None:
        raise UsageError(f'train_dataloader.dataset.type={config.get("type")!r} is not registered')
    classes = (getattr(dataset_class, 'METAINFO', None) or {}).get('classes') or ()
    if tuple(classes) == tuple(IMAGENET_CATEGORIES):
        # mmpretrain names a class by all its synonyms.
        return {'type': 'lfi.ImageNetNames'}, list(classes)
    concepts = {'type': scoped_type(config, scope), **_class_names_arguments(dataset_class, config)}
    has_names = classes or hasattr(dataset_class, 'class_names')
    if has_names and LFI_DATASETS.get(concepts['type']) is dataset_class:
        try:
            return concepts, concept_names(concepts)
        except OSError as error:
            raise UsageError(f'concepts={concepts!r}: {error}') from error
    names = list(classes) or _names_on_disk(config, scope)
    return _as_texts(names), names


def read_concepts(file: str) -> list[str]:
    """Read names from a file, one a line; underscores become spaces, as in the names of a data set.

    Raises:
        UsageError: if the file does not exist, holds no name, or has several names in a line.
    """
    if not Path(file).is_file():
        raise UsageError(f'--concepts {file}: there is no such file')
    names = _read_lines(file)
    if not names:
        raise UsageError(f'--concepts {file} has no name: write one a line, in the order of the labels')
    several = next((name for name in names if '|' in name), None)
    if several:
        raise UsageError(
            f'--concepts {file} has the line {several!r}: a concept has one text, and no synonyms. Keep the '
            'best one'
        )
    return _as_texts(names)


def check_class_count(names: Sequence[str], model: Mapping, from_file: bool) -> None:
    """Check that there are as many names as the model has classes.

    Args:
        names: names of the classes.
        model: config of the task's model.
        from_file: whether the names come from `--concepts`, for the message.

    Raises:
        UsageError: if the model's `num_classes` is another number.
    """
    configs = configs_in({key: value for key, value in model.items() if key != 'data_preprocessor'})
    numbers = (config.get('num_classes') for config in configs)
    counts = {number for number in numbers if isinstance(number, int)}
    if counts and len(names) not in counts:
        source = '--concepts names' if from_file else 'the data set names'
        fix = 'Give a name for each class, in the order of the labels' if from_file else FIX
        raise UsageError(
            f'the model has num_classes={" or ".join(map(str, sorted(counts)))}, but {source} {len(names)} '
            f'classes: {first_names(names)}. {fix}; or set num_classes, and metainfo=dict(classes=...) of '
            'the data sets'
        )


def first_names(names: Sequence[str]) -> str:
    """Return the first three names as a list; bars separate them, since names may have commas."""
    return ' | '.join([*names[:3], *(['…'] if len(names) > 3 else [])])


def _class_names_arguments(dataset_class: type, config: Mapping) -> dict[str, Any]:
    """Arguments of a data set's `class_names` that its config has."""
    if not hasattr(dataset_class, 'class_names'):
        return {}
    parameters = inspect.signature(dataset_class.class_names).parameters
    return {name: config[name] for name in parameters if name in config}


def _names_on_disk(config: Mapping, scope: str) -> list[str]:
    setting = f'train_dataloader.dataset.type={config.get("type")!r}'
    try:
        with DATASETS.switch_scope_and_registry(scope) as registry:
            dataset = registry.build({**without_downloads(config, scope), 'lazy_init': False})
    # Data sets raise errors of any type at missing files.
    except Exception as error:
        raise UsageError(
            f'{setting} names no classes in its config or its class, and cannot be read '
            f'({type(error).__name__}: {error}). {FIX}'
        ) from error
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not names:
        raise UsageError(f'{setting} names no classes: it has no metainfo["classes"]. {FIX}')
    return [str(name) for name in names]


def _read_lines(file: str) -> list[str]:
    try:
        # Some editors write a byte order mark.
        lines = Path(file).expanduser().read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f'the class names in {file} cannot be read: {error}. {FIX}') from error
    return [line.strip() for line in lines if line.strip()]


def _as_texts(names: Sequence[str]) -> list[str]:
    return [' '.join(name.replace('_', ' ').split()) for name in names]
