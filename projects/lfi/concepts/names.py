"""From a config's `concepts` to their names, and the names of ImageNet's classes as a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from inspect import signature
from unicodedata import normalize

from lfi.errors import UsageError
from lfi.registry import DATASETS, VOCABULARIES


def class_name(classes: Sequence[str], label: int) -> str:
    """A label's name, or its number where it has none."""
    return classes[label] if label < len(classes) else str(label)


def concept_names(concepts: Sequence[str] | dict) -> list[str]:
    """The names of a config's `concepts`.

    Args:
        concepts: the names themselves, or a type that gives them: `class_names` of it is called with the
            other keys, `dict(type='lfi.TinyImageNet', data_root=...)`; where it has none, its
            `METAINFO['classes']` serve, with spaces for underscores, `dict(type='mmdet.CocoDataset')`. What
            stands under the key `extra`, names or again what gives them, comes after the classes, without
            those already there, in whatever case.

    Raises:
        ValueError: if it is a single string, or the type is unknown or cannot name its classes.
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
        # Tokenizers keep an underscore as a word of its own.
        names = [name.replace('_', ' ') for name in classes]
    known = set(map(plain_name, names))
    new = {plain_name(name): name for name in reversed(concept_names(extra)) if plain_name(name) not in known}
    return names + [*reversed(new.values())]


def plain_name(name: str) -> str:
    """What tells a name from others: neither case, which most tokenizers do not read, nor `_`, nor spaces.

    A letter with an accent is the same in one character as in two, which is how macOS names folders.
    """
    return normalize('NFC', ' '.join(str(name).replace('_', ' ').casefold().split()))


def moved_name(names: Sequence[str], others: Sequence[str]) -> tuple[int, int] | None:
    """Where the first of the names stands that has another place among others: here, and there.

    Args:
        names: no more than the others. A name that none of these has is taken for another wording.
        others: what they are compared with, place by place.
    """
    places = {plain_name(other): there for there, other in reversed([*enumerate(others)])}
    for here, name in enumerate(names):
        there = places.get(plain_name(name), here)
        if there != here and plain_name(others[here]) != plain_name(name):
            return here, there
    return None


def check_unrepeated(names: Sequence[str], field: str) -> None:
    """Raise a UsageError that names the field if one of the names comes twice, in whatever case.

    The classes of a data set may share a name, as two pairs of ImageNet's do: they are not checked.
    """
    if said := repetition(names, field):
        raise UsageError(said)


def repetition(names: Sequence[str], field: str) -> str:
    """What is to be said of names that come twice, in whatever case; empty where none does."""
    counts = Counter(map(plain_name, names))
    repeated = [name for name in dict.fromkeys(names) if counts[plain_name(name)] > 1]
    if not repeated:
        return ''
    return (
        f"{field} has {repeated} more than once, and each would take half of the other's probability: "
        'leave the second out, or write what tells them apart'
    )


@VOCABULARIES.register_module()
class ImageNetNames:
    """The 1,000 classes of ImageNet in the words of open_clip's zero-shot evaluation; it holds no images.

    For `concepts=dict(type=..., extra=dict(type='lfi.ImageNetNames'))`: a wide vocabulary around a task's
    few classes, so that what a location shows is told apart from much else. `mmpretrain.ImageNet` names each
    class by all its synonyms ('tench, Tinca tinca'), which do not equal a task's own name for it.
    """

    @staticmethod
    def class_names() -> list[str]:
        """The names, in ImageNet's order."""
        # Data sets import this module, and no model.
        from open_clip import IMAGENET_CLASSNAMES

        return list(IMAGENET_CLASSNAMES)
