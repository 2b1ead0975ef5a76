"""Who names a data set's classes."""

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
from lfi.utils.config_types import configs_in, leaves

from .kinds import kind_of, offline, with_scope

FIX = 'Give a file with a name a line, in the order of the labels: --concepts FILE'


def named_classes(dataset: Mapping, scope: str) -> tuple[Any, list[str]]:
    """What stands for `concepts` in a teacher's config: what names the classes, or the names.

    They are looked for in the data set's config, in its class, and at last on the disk, where a data set of
    a folder for each class has them. Names of one's own get spaces for their underscores, as texts have them.

    Args:
        dataset: config of the training data.
        scope: where types are looked up that name no scope.

    Returns:
        The config, and the names in the order of the labels.

    Raises:
        UsageError: if nothing names them.
    """
    config = next(leaves(dataset), None)
    if not config:
        raise UsageError(f'the config has no train_dataloader.dataset, which would name the classes. {FIX}')
    stated = (config.get('metainfo') or {}).get('classes', config.get('classes'))
    if stated is not None:
        names = _read(stated) if isinstance(stated, str) else [str(name) for name in stated]
        return _as_texts(names), names
    kind = kind_of(config, DATASETS, scope)
    if kind is None:
        raise UsageError(f'train_dataloader.dataset.type={config.get("type")!r} is registered in no project')
    classes = (getattr(kind, 'METAINFO', None) or {}).get('classes') or ()
    if tuple(classes) == tuple(IMAGENET_CATEGORIES):
        # mmpretrain names a class by all its synonyms.
        return {'type': 'lfi.ImageNetNames'}, list(classes)
    own = {'type': with_scope(config, scope), **_arguments(kind, config)}
    if (classes or hasattr(kind, 'class_names')) and LFI_DATASETS.get(own['type']) is kind:
        try:
            return own, concept_names(own)
        except OSError as error:
            raise UsageError(f'concepts={own!r}: {error}') from error
    names = list(classes) or _on_disk(config, scope)
    return _as_texts(names), names


def read_concepts(file: str) -> list[str]:
    """The names in a file, one a line.

    Raises:
        UsageError: if there is no such file, or no name in it.
    """
    if not Path(file).is_file():
        raise UsageError(f'--concepts {file}: there is no such file')
    names = _read(file)
    if not names:
        raise UsageError(f'--concepts {file} has no name: write one a line, in the order of the labels')
    return names


def check_number(names: Sequence[str], model: Mapping, given: bool) -> None:
    """Check that there are as many names as the model has classes.

    Args:
        names: of the classes.
        model: config of the task's model.
        given: whether a file gave them.

    Raises:
        UsageError: if the model says how many classes it has, and these are not so many.
    """
    configs = configs_in({key: value for key, value in model.items() if key != 'data_preprocessor'})
    numbers = (config.get('num_classes') for config in configs)
    counts = {number for number in numbers if isinstance(number, int)}
    if counts and len(names) not in counts:
        source = '--concepts names' if given else 'the data set names'
        fix = 'Give a name for each class, in the order of the labels' if given else FIX
        raise UsageError(
            f'the model has num_classes={" or ".join(map(str, sorted(counts)))}, and {source} {len(names)} '
            f'classes, {", ".join(names[:3])}, …. {fix}; or set num_classes, and metainfo=dict(classes=...) '
            'of the data sets'
        )


def _arguments(kind: type, config: Mapping) -> dict[str, Any]:
    """What a data set's `class_names` takes of its config."""
    if not hasattr(kind, 'class_names'):
        return {}
    taken = inspect.signature(kind.class_names).parameters
    return {name: config[name] for name in taken if name in config}


def _on_disk(config: Mapping, scope: str) -> list[str]:
    named = f'train_dataloader.dataset.type={config.get("type")!r}'
    try:
        with DATASETS.switch_scope_and_registry(scope) as registry:
            dataset = registry.build({**offline(config, scope), 'lazy_init': False})
    # What a data set raises where its files are missing differs from one to the next.
    except Exception as error:
        raise UsageError(
            f'{named} names no classes in its config or its class, and cannot be read '
            f'({type(error).__name__}: {error}). {FIX}'
        ) from error
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not names:
        raise UsageError(f'{named} names no classes: it has no metainfo["classes"]. {FIX}')
    return [str(name) for name in names]


def _read(file: str) -> list[str]:
    try:
        # Some editors put a mark before the first name.
        lines = Path(file).expanduser().read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f'the names of the classes in {file} cannot be read: {error}. {FIX}') from error
    return [line.strip() for line in lines if line.strip()]


def _as_texts(names: Sequence[str]) -> list[str]:
    return [' '.join(name.replace('_', ' ').split()) for name in names]
