"""Names of concepts: from a config's `concepts`, and ImageNet's classes as a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from inspect import signature
from unicodedata import normalize

from lfi.errors import UsageError
from lfi.registry import DATASETS, VOCABULARIES


def class_name(classes: Sequence[str], label: int) -> str:
    """Return the name of a label, or its number if it has none."""
    return classes[label] if label < len(classes) else str(label)


def concept_names(concepts: Sequence[str] | dict) -> list[str]:
    """Return the names of a config's `concepts`.

    Args:
        concepts: names, or a config of a vocabulary or data set. Its `class_names` is called with the other
            keys, as in `dict(type='lfi.TinyImageNet', data_root=...)`. A type without `class_names` needs
            `METAINFO['classes']`, whose underscores become spaces, as in `dict(type='mmdet.CocoDataset')`.
            The key `extra` appends further concepts, in either form. Duplicates are left out, in any case.

    Raises:
        ValueError: if `concepts` is a single string, or the type is unknown or has no class names.
    """
    if not isinstance(concepts, dict):
        if (
            isinstance(concepts, str)
            or not isinstance(concepts, Sequence)
            or not all(isinstance(name, str) for name in concepts)
        ):
            raise ValueError(f'concepts={concepts!r} must be a list of names, or a data set that names them')
        return list(concepts)
    arguments = dict(concepts)
    name, extra = arguments.pop('type', None), arguments.pop('extra', ())
    source = (VOCABULARIES.get(name) or DATASETS.get(name)) if isinstance(name, str) else None
    classes = getattr(source, 'METAINFO', {}).get('classes', ())
    if source is None:
        raise ValueError(f'concepts.type={name!r} is neither a vocabulary nor a data set that is registered')
    if hasattr(source, 'class_names'):
        try:
            signature(source.class_names).bind(**arguments)
        except TypeError as error:
            raise ValueError(f'concepts of type {name!r}: {error}') from error
        names = list(source.class_names(**arguments))
    elif not classes:
        raise ValueError(f'concepts.type={name!r} has neither class_names() nor classes in its METAINFO')
    elif arguments:
        raise ValueError(f'concepts.type={name!r} names its classes itself: leave out {", ".join(arguments)}')
    else:
        # Tokenizers read an underscore as a word.
        names = [name.replace('_', ' ') for name in classes]
    taken = set(map(plain_name, names))
    new = {plain_name(name): name for name in reversed(concept_names(extra)) if plain_name(name) not in taken}
    return names + [*reversed(new.values())]


def plain_name(name: str) -> str:
    """Normalise a name for comparison: case, underscores, spaces and composed characters (NFC).

    Most tokenizers ignore case, and macOS writes an accent as a character of its own in folder names.
    """
    return normalize('NFC', ' '.join(str(name).replace('_', ' ').casefold().split()))


def first_misplaced_name(names: Sequence[str], others: Sequence[str]) -> tuple[int, int] | None:
    """Find the first name that has another index in `others`. Return both indices, or None.

    Args:
        names: names, no more than `others`. A name that is not in `others` counts as another wording.
        others: names to compare with, index by index.
    """
    indices = {plain_name(other): index for index, other in reversed([*enumerate(others)])}
    for index, name in enumerate(names):
        other_index = indices.get(plain_name(name), index)
        if other_index != index and plain_name(others[index]) != plain_name(name):
            return index, other_index
    return None


def check_unique(names: Sequence[str], field: str) -> None:
    """Raise a UsageError if a field has a name twice, in any case.

    Classes of a data set are not checked: they may share a name, as two pairs of ImageNet's do.
    """
    if message := duplicates_message(names, field):
        raise UsageError(message)


def duplicates_message(names: Sequence[str], field: str) -> str:
    """Return an error message about the names that a field has twice, in any case; '' if there are none."""
    counts = Counter(map(plain_name, names))
    repeated = [name for name in dict.fromkeys(names) if counts[plain_name(name)] > 1]
    if not repeated:
        return ''
    return (
        f'{field} has {repeated} more than once, and duplicates would share their probability: remove the '
        'second one, or reword it'
    )


@VOCABULARIES.register_module()
class ImageNetNames:
    """Vocabulary of ImageNet's 1,000 classes with the names of open_clip's zero-shot evaluation.

    `concepts=dict(type=..., extra=dict(type='lfi.ImageNetNames'))` adds a wide vocabulary, with which a
    teacher compares a task's few classes. `mmpretrain.ImageNet` names a class by all its synonyms ('tench,
    Tinca tinca'), which differ from the task's name for the class.
    """

    @staticmethod
    def class_names() -> list[str]:
        """Return the names in ImageNet's order."""
        # Imported late: data sets import this module without a model.
        from open_clip import IMAGENET_CLASSNAMES

        return list(IMAGENET_CLASSNAMES)
