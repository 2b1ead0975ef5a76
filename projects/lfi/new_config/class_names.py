"""Names of classes as texts that a teacher understands."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from timm.data import ImageNetInfo

from lfi.adaptation.class_names import first_names
from lfi.concepts import concept_names
from lfi.errors import UsageError

from .labelled_image import FoundData

WORDNET_ID = re.compile(r'n\d{8}')
NUMBERED = re.compile(r'(cls|class|label|category)?[\s_.-]*\d+(\.0)?', re.IGNORECASE)
"""Names that are a number, or a word for a class and a number."""
ADVICE = 'give words by --concepts FILE, one class a line, in this order'


def with_words(data: FoundData) -> FoundData:
    """Name classes by words where WordNet ids, such as n01443537, name them, and note it."""
    if not data.classes or not all(map(WORDNET_ID.fullmatch, data.classes)):
        return data
    words = [_words_of().get(name, name) for name in data.classes]
    first = next((index for index, name in enumerate(data.classes) if words[index] != name), None)
    if first is None:
        return data
    counts = Counter(words)
    # Two senses of a word, such as crane.
    words = [word if counts[word] == 1 else f'{word} ({name})' for word, name in zip(words, data.classes)]
    example = f'{data.classes[first]} is {words[first]!r}'
    note = f'WordNet ids name the classes, and LFI takes their words: {example}, …'
    return replace(data, classes=tuple(words), notes=(*data.notes, note))


@cache
def _words_of() -> dict[str, str]:
    """Return words of WordNet ids: OpenAI's for the classes of ImageNet, for others the first lemma."""
    known = ImageNetInfo('imagenet-22k')
    words = {name: known.label_name_to_description(name).split(',')[0] for name in known.label_names()}
    return words | dict(zip(ImageNetInfo().label_names(), concept_names({'type': 'lfi.ImageNetNames'})))


def with_texts(data: FoundData, texts: Sequence[str]) -> FoundData:
    """Name classes by texts of the user.

    Raises:
        UsageError: if their number is not that of the classes.
    """
    if len(texts) != len(data.classes):
        raise UsageError(
            f'--concepts has {len(texts)} names, and {data.root} has {len(data.classes)} classes: write one '
            f'for each of {first_names(data.classes)}, in this order'
        )
    note = f'--concepts names the classes: {data.classes[0]!r} is {texts[0]!r}, …'
    return replace(data, classes=tuple(texts), notes=(*data.notes, note))


def check_class_names(data: FoundData) -> FoundData:
    """Note classes without a training image, and names that tell a teacher little."""
    return replace(data, notes=(*data.notes, *_notes(data)))


def _notes(data: FoundData) -> Iterator[str]:
    used = {index for image in data.train for index in image.classes}
    unused = [name for index, name in enumerate(data.classes) if index not in used]
    if unused:
        yield f'classes without a training image: {len(unused)}, such as {unused[0]!r}'
    by_text: dict[str, list[str]] = defaultdict(list)
    for name in data.classes:
        by_text[' '.join(name.replace('_', ' ').split()).casefold()].append(name)
    same = next((names for names in by_text.values() if len(names) > 1), None)
    if same:
        yield (
            f'the classes {" and ".join(map(repr, same))} are the same text for the teacher, which cannot '
            'tell them apart: reword one'
        )
    numbered = [name for name in data.classes if NUMBERED.fullmatch(name) or WORDNET_ID.fullmatch(name)]
    if numbered:
        yield f'class names such as {numbered[0]!r} tell the teacher nothing: {ADVICE}'
