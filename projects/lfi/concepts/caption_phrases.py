"""What captions speak of, as concepts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath

from lfi.registry import VOCABULARIES

from .names import plain_name

# Articles, numbers and possessives: what a phrase is about does not begin with them.
LEADING = ('DT', 'CD', 'PRP$', 'PDT', 'WDT')


def noun_phrases(caption: str) -> list[str]:
    """The noun phrases of a caption by TextBlob's chunker, in lower case, without leading articles.

    Raises:
        ImportError: if TextBlob is not installed.

    Example:
        >>> noun_phrases('A man riding a wave on top of a surfboard.')
        ['man', 'wave', 'surfboard']
    """
    try:
        from textblob.en import parse
    except ImportError as error:
        raise ImportError(
            "splitter='noun_phrases' needs what `pip install 'lfi[captions]'` brings"
        ) from error
    phrases = []
    for sentence in parse(caption, chunks=True).split():
        for phrase in _chunks(sentence):
            while phrase and phrase[0][1] in LEADING:
                phrase.pop(0)
            if phrase and phrase[-1][1].startswith('NN'):
                phrases.append(' '.join(word.lower() for word, _ in phrase))
    return phrases


def whole_caption(caption: str) -> list[str]:
    """The caption as it is."""
    return [caption.strip()]


SPLITTERS: dict[str, Callable[[str], list[str]]] = {'noun_phrases': noun_phrases, 'caption': whole_caption}


def splitter_of(name: str) -> Callable[[str], list[str]]:
    """A splitter by its name.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in SPLITTERS:
        raise ValueError(f'splitter={name!r} is unknown; choose from {sorted(SPLITTERS)}')
    return SPLITTERS[name]


def read_captions(ann_file: str | Path) -> dict[str, list[str]]:
    """The captions of each image, by its file's name.

    Args:
        ann_file: COCO's annotations (`.json`), or lines of `name#i<TAB>caption` as Flickr has them.

    Raises:
        ValueError: if the file is of neither kind, or two images have the same name in different folders.
    """
    path = Path(ann_file)
    text = path.read_text(encoding='utf-8-sig')
    captions: dict[str, list[str]] = {}
    try:
        if path.suffix == '.json':
            content = json.loads(text)
            name_of = {image['id']: image['file_name'] for image in content['images']}
            rows = [(name_of[row['image_id']], row['caption']) for row in content['annotations']]
        else:
            # Captions may hold other marks at which `splitlines` would cut.
            lines = (line.rstrip('\r').split('\t') for line in text.split('\n') if line.strip())
            rows = [(_file_of(name), caption) for name, caption in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no captions: expected COCO's .json, or lines of name#i<TAB>caption ({error!r})"
        ) from error
    whole: dict[str, str] = {}
    for name, caption in rows:
        short = PurePath(name).name
        if whole.setdefault(short, name) != name:
            raise ValueError(
                f'{path} has captions of {whole[short]} and {name}, and an image is known by the name of its '
                'file: rename one'
            )
        captions.setdefault(short, []).append(caption)
    return captions


def _file_of(name: str) -> str:
    """The file of `name#i`; a name of its own may hold the mark too."""
    file, _, number = name.rpartition('#')
    return file if file and '.' not in number else name


@VOCABULARIES.register_module()
class CaptionPhrases:
    """Names concepts by what captions speak of: `concepts=dict(type='lfi.CaptionPhrases', ann_file=...)`."""

    @staticmethod
    def class_names(
        ann_file: str | Path,
        splitter: str = 'noun_phrases',
        min_count: int = 2,
    ) -> list[str]:
        """The phrases, the most frequent first.

        Args:
            ann_file: as `read_captions` takes it.
            splitter: 'noun_phrases' or 'caption'. Defaults to 'noun_phrases'.
            min_count: leave out what fewer captions speak of. Defaults to 2.

        Raises:
            ValueError: if the splitter is unknown, or nothing is left.
        """
        split = splitter_of(splitter)
        captions = [caption for texts in read_captions(ann_file).values() for caption in texts]
        counts: Counter[str] = Counter()
        spelling: dict[str, str] = {}
        for caption in captions:
            # Case does not tell phrases apart.
            found: dict[str, str] = {}
            for phrase in filter(str.strip, split(caption)):
                found.setdefault(plain_name(phrase), phrase)
            counts.update(found.keys())
            for name, phrase in found.items():
                spelling.setdefault(name, phrase)
        phrases = [spelling[name] for name, count in counts.most_common() if count >= min_count]
        if not phrases:
            raise ValueError(f'min_count={min_count} leaves none of the {len(counts)} phrases of {ann_file}')
        return phrases


def _chunks(sentence: list[list[str]]) -> list[list[tuple[str, str]]]:
    """The noun phrases of a parsed sentence, whose words are [word, tag, chunk, ...], as (word, tag)."""
    chunks: list[list[tuple[str, str]]] = []
    before = None
    for word, tag, chunk, *_ in sentence:
        if chunk == 'B-NP' or (chunk == 'I-NP' and before not in ('B-NP', 'I-NP')):
            chunks.append([])
        if chunk in ('B-NP', 'I-NP'):
            chunks[-1].append((word, tag))
        before = chunk
    return chunks
