"""Concepts from the phrases of captions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath

from lfi.registry import VOCABULARIES

from .names import plain_name

# Tags of articles, numbers and possessives, which are cut off the start of a phrase.
LEADING = ('DT', 'CD', 'PRP$', 'PDT', 'WDT')


def noun_phrases(caption: str) -> list[str]:
    """Return the noun phrases of a caption by TextBlob's chunker, in lower case, without leading articles.

    Raises:
        ImportError: if TextBlob is not installed.

    Example:
        >>> noun_phrases('A man riding a wave on top of a surfboard.')
        ['man', 'wave', 'surfboard']
    """
    try:
        from textblob.en import parse
    except ImportError as error:
        raise ImportError("splitter='noun_phrases' needs TextBlob: pip install 'lfi[captions]'") from error
    phrases = []
    for sentence in parse(caption, chunks=True).split():
        for phrase in _chunks(sentence):
            while phrase and phrase[0][1] in LEADING:
                phrase.pop(0)
            if phrase and phrase[-1][1].startswith('NN'):
                phrases.append(' '.join(word.lower() for word, _ in phrase))
    return phrases


def whole_caption(caption: str) -> list[str]:
    """Return the caption as its only phrase."""
    return [caption.strip()]


SPLITTERS: dict[str, Callable[[str], list[str]]] = {'noun_phrases': noun_phrases, 'caption': whole_caption}


def get_splitter(name: str) -> Callable[[str], list[str]]:
    """Return a splitter by its name.

    Raises:
        ValueError: if the name is unknown.
    """
    if name not in SPLITTERS:
        raise ValueError(f'splitter={name!r} is unknown; choose from {sorted(SPLITTERS)}')
    return SPLITTERS[name]


def read_captions(ann_file: str | Path) -> dict[str, list[str]]:
    """Read the captions of each image, by its file name.

    Args:
        ann_file: COCO's annotations (`.json`), or Flickr's lines of `name#i<TAB>caption`.

    Raises:
        ValueError: if the file has another format, or images of two folders have the same file name.
    """
    path = Path(ann_file)
    text = path.read_text(encoding='utf-8-sig')
    captions: dict[str, list[str]] = {}
    try:
        if path.suffix == '.json':
            content = json.loads(text)
            names = {image['id']: image['file_name'] for image in content['images']}
            rows = [(names[row['image_id']], row['caption']) for row in content['annotations']]
        else:
            # `splitlines` would split at other characters of captions too.
            lines = (line.rstrip('\r').split('\t') for line in text.split('\n') if line.strip())
            rows = [(_image_file(name), caption) for name, caption in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no captions: expected COCO's .json, or lines of name#i<TAB>caption ({error!r})"
        ) from error
    paths: dict[str, str] = {}
    for name, caption in rows:
        file_name = PurePath(name).name
        if paths.setdefault(file_name, name) != name:
            raise ValueError(
                f'{path} has captions of {paths[file_name]} and {name}, but images are identified by their '
                'file names: rename one'
            )
        captions.setdefault(file_name, []).append(caption)
    return captions


def _image_file(name: str) -> str:
    """Return the file of `name#i`; a file name may have a `#` too."""
    file, _, number = name.rpartition('#')
    return file if file and '.' not in number else name


@VOCABULARIES.register_module()
class CaptionPhrases:
    """Vocabulary of the phrases of captions: `concepts=dict(type='lfi.CaptionPhrases', ann_file=...)`."""

    @staticmethod
    def class_names(
        ann_file: str | Path,
        splitter: str = 'noun_phrases',
        min_count: int = 2,
    ) -> list[str]:
        """Return the phrases, the most frequent first.

        Args:
            ann_file: COCO's annotations (`.json`), or Flickr's lines of `name#i<TAB>caption`.
            splitter: 'noun_phrases' or 'caption'. Defaults to 'noun_phrases'.
            min_count: smallest number of captions with the phrase. Defaults to 2.

        Raises:
            ValueError: if the splitter is unknown, or no phrase has `min_count` captions.
        """
        split = get_splitter(splitter)
        captions = [caption for texts in read_captions(ann_file).values() for caption in texts]
        counts: Counter[str] = Counter()
        spelling: dict[str, str] = {}
        for caption in captions:
            # Phrases that differ in case are the same.
            distinct: dict[str, str] = {}
            for phrase in filter(str.strip, split(caption)):
                distinct.setdefault(plain_name(phrase), phrase)
            counts.update(distinct.keys())
            for name, phrase in distinct.items():
                spelling.setdefault(name, phrase)
        phrases = [spelling[name] for name, count in counts.most_common() if count >= min_count]
        if not phrases:
            raise ValueError(f'min_count={min_count} leaves none of the {len(counts)} phrases of {ann_file}')
        return phrases


def _chunks(sentence: list[list[str]]) -> list[list[tuple[str, str]]]:
    """Return the noun phrases, as (word, tag), of a sentence of [word, tag, chunk, ...]."""
    chunks: list[list[tuple[str, str]]] = []
    previous = None
    for word, tag, chunk, *_ in sentence:
        if chunk == 'B-NP' or (chunk == 'I-NP' and previous not in ('B-NP', 'I-NP')):
            chunks.append([])
        if chunk in ('B-NP', 'I-NP'):
            chunks[-1].append((word, tag))
        previous = chunk
    return chunks
