"""Which concepts the captions of an image speak of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePath

import torch
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from lfi.concepts.caption_phrases import read_captions, splitter_of
from lfi.concepts.names import concept_names, plain_name
from lfi.registry import TRANSFORMS

# Of so many images with captions one at least should name a concept.
ENOUGH = 100


@TRANSFORMS.register_module()
class LoadCaptionConcepts(BaseTransform):
    """Finds the phrases of an image's captions among the teacher's concepts.

    Case does not count. LFI then asks the teacher about them as it asks about the image's labels. It sets
    `gt_concepts`, (n,) int64, indices in the bank, n may be 0; let
    `PackInputs(algorithm_keys=('gt_concepts',))` pass it on. Each worker warns if its first
    hundred images with captions name none of the concepts.

    Args:
        concepts: the same as the teacher's.
        ann_file: where the captions are, as `read_captions` takes it; an image is known by its file's name.
            Defaults to None: the data set gives `caption`, a string or several.
        splitter: 'noun_phrases' or 'caption'. Defaults to 'noun_phrases'.

    Raises:
        ValueError: if the splitter is unknown, or `concepts` or `ann_file` is not as it should be.
    """

    def __init__(
        self,
        concepts: Sequence[str] | dict,
        ann_file: str | Path | None = None,
        splitter: str = 'noun_phrases',
    ) -> None:
        # Phrases are in lower case, and a data set's classes may share a name.
        self.indices_of: dict[str, list[int]] = {}
        for index, name in enumerate(concept_names(concepts)):
            self.indices_of.setdefault(plain_name(name), []).append(index)
        self.split = splitter_of(splitter)
        self.ann_file = ann_file
        self.captions = None if ann_file is None else read_captions(ann_file)
        # Images that named nothing, until one does.
        self._without: int | None = 0

    def transform(self, results: dict) -> dict:
        """Set `gt_concepts`."""
        if self.captions is None:
            if 'caption' not in results:
                raise ValueError(
                    f'{results.get("img_path")} has no caption: give lfi.LoadCaptionConcepts an ann_file, '
                    'or a data set that has captions'
                )
            captions = results['caption']
            captions = [captions] if isinstance(captions, str) else captions
        else:
            captions = self.captions.get(PurePath(results['img_path']).name, [])
        phrases = [phrase for caption in captions for phrase in self.split(caption)]
        indices = sorted(
            {index for phrase in phrases for index in self.indices_of.get(plain_name(phrase), ())}
        )
        if self._without is not None and phrases:
            self._without = None if indices else self._without + 1
        if self._without == ENOUGH:
            self._without = None
            print_log(
                f'lfi.LoadCaptionConcepts: of {ENOUGH} images no phrase is a concept, such as '
                f'{phrases[0]!r}: ask about phrases, by '
                "concepts=dict(type='lfi.CaptionPhrases', ann_file=...)",
                'current',
                logging.WARNING,
            )
        results['gt_concepts'] = torch.tensor(indices, dtype=torch.int64)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ann_file={self.ann_file!r}, {len(self.indices_of)} concepts)'
