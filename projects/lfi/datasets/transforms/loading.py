"""Transforms that load what an image has beside its pixels: maps, regions, captions and people's gaze."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from torch import Tensor

from lfi.concepts.caption_phrases import read_captions, splitter_of
from lfi.concepts.names import concept_names, plain_name
from lfi.datasets.regions import objects_of
from lfi.errors import UsageError
from lfi.registry import TRANSFORMS
from lfi.structures.interaction_cache import InteractionCache
from lfi.structures.labels import UNLABELLED

from .mixed_sources import refuse_unrecorded_changes, tiles_of
from .record_view import RecordView


@TRANSFORMS.register_module()
class LoadInteractionMaps(BaseTransform):
    """Reads what a cache holds of an image, or of all that `lfi.RecordedMosaic` and its like show.

    The data loader's workers read it.

    It sets `interaction_maps`, a `StoredMaps`. Pass it on, with the `view` that the model warps the maps
    into, by `PackInputs(algorithm_keys=('view', 'interaction_maps'))`, in detection by
    `PackDetInputs(meta_keys=(..., 'view', 'interaction_maps'))`.

    Args:
        cache: the folder that `lfi cache` wrote, the same as `model.teacher.cache`.
            `tools/train.py` fills it in from there. Defaults to None: nothing is read, and the teacher is
            asked online.

    Raises:
        UsageError: for an image that a step outside `lfi.RecordView` has flipped, resized or cropped, as far
            as its size and mmdet's notes tell; `refuse_unrecorded_steps` tells the rest from the config. And
            for an image whose label is hidden, of a cache that tells it.
        CacheError: for the first image, if there is no complete cache; or for an image that it does not hold.
    """

    def __init__(self, cache: str | Path | None = None) -> None:
        self.cache = cache
        # Opened by the process that reads: memory maps do not travel to workers.
        self._opened: InteractionCache | None = None

    def __getstate__(self) -> dict:
        """Leave the opened cache behind."""
        return {**vars(self), '_opened': None}

    def transform(self, results: dict) -> dict:
        """Read the record of `img_path`."""
        if self.cache is None:
            return results
        refuse_unrecorded_changes(results)
        if self._opened is None:
            self._opened = InteractionCache(self.cache)
        if results.get(UNLABELLED) and self._opened.manifest.tells_labels:
            raise UsageError(
                f'{results["img_path"]}: its label is hidden by lfi.FewLabels, and {self.cache} was written '
                'with all labels, which chose the concepts whose maps it keeps: they tell the label. Write '
                'another by lfi cache with the config of this training'
            )
        results['interaction_maps'] = self._opened.stored(*tiles_of(results))
        return results

    def __repr__(self) -> str:
        """With the cache's folder."""
        return f'{type(self).__name__}(cache={self.cache!r})'


@TRANSFORMS.register_module()
class LoadRegions(BaseTransform):
    """Notes where an image shows each of its classes, for `lfi.SemanticConsistencyMetric`.

    It stands after what loads the image and its annotations, and holds all transforms that move pixels.

    It sets `regions`, for each class that can be seen in the transformed image a (h, w) bool array; `crowds`,
    the classes that only ignored objects show there, such as COCO's crowds; and brings `heat_maps`, if
    `lfi.LoadHeatMap` set them, to the same view and size. Pass them on by
    `PackInputs(algorithm_keys=('regions', 'heat_maps'))`, in detection by
    `PackDetInputs(meta_keys=(..., 'regions', 'crowds', 'heat_maps'))`.

    Args:
        transforms: configs or transforms, as `RecordView` takes them. Defaults to (): nothing moves.

    Raises:
        ValueError: if a transform is one that `RecordView` cannot follow; or, for an image, if it has been
            changed before, or has no masks, boxes or heat maps.
    """

    def __init__(self, transforms: Sequence = ()) -> None:
        self.record_view = RecordView(transforms)

    def transform(self, results: dict) -> dict | None:
        """Set `regions` and `crowds`, and run the transforms."""
        size, loaded = results['img'].shape[:2], results.get('ori_shape')
        if (loaded is not None and tuple(loaded[:2]) != size) or results.get('flip'):
            raise ValueError(
                f'lfi.LoadRegions: the image, {size} pixels, has been changed since it was loaded with '
                f'{loaded}, so its annotations may lie elsewhere. Put the transforms that move pixels into '
                "dict(type='lfi.LoadRegions', transforms=[...]), and load the annotations before it"
            )
        annotated = 'gt_masks' in results or 'gt_bboxes' in results
        readable = annotated or 'heat_maps' not in results
        found = objects_of(results) if readable else None
        regions, crowds = ({}, {}) if found is None else (found.regions(), found.crowds())
        seen: dict | None = self.record_view(results)
        if seen is None:
            return None
        results = seen
        view, size = results['view'], results['img'].shape[:2]
        results['regions'] = _regions_in_view(regions, view, size)
        results['crowds'] = sorted(_regions_in_view(crowds, view, size).keys() - results['regions'].keys())
        if 'heat_maps' in results:
            results['heat_maps'] = {
                concept: shown
                for concept, heat in results['heat_maps'].items()
                if (shown := _in_view(torch.from_numpy(heat), view, size, 'bilinear')).any()
            }
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.record_view})'


def _regions_in_view(
    regions: Mapping[int, np.ndarray], view: Tensor, size: tuple[int, int]
) -> dict[int, np.ndarray]:
    """What a view shows of each region (H, W) bool, as (h, w) bool; none of one that it leaves out."""
    return {
        concept: shown.astype(bool)
        for concept, mask in regions.items()
        if (shown := _in_view(torch.from_numpy(mask).float(), view, size, 'nearest')).any()
    }


def _in_view(picture: Tensor, view: Tensor, size: tuple[int, int], mode: str) -> np.ndarray:
    """What a view (2, 3) of size (h, w) shows of a picture (H, W) float; 0 beyond it."""
    points = F.affine_grid(view[None], [1, 1, *size], align_corners=False)
    shown = F.grid_sample(picture[None, None], points, mode, padding_mode='border', align_corners=False)[0, 0]
    # An array: workers hand tensors over by files, of which a process may not open many.
    return (shown * (points[0].abs() <= 1).all(-1)).numpy()


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


@TRANSFORMS.register_module()
class LoadHeatMap(BaseTransform):
    """Reads where people looked for an image's class, for `lfi.SemanticConsistencyMetric`.

    A heat map is a grey picture of the complete image, of any size, brighter where they looked more. Its file
    is called as the image is, in folders like the image's own or in none. Put this before `lfi.LoadRegions`.
    It sets `heat_maps`: for `gt_label` a (H, W) float32 array in [0, 1]; empty for an image without a file,
    or with a map that is black.

    Args:
        data_root: the folder of the heat maps, .png files.

    Raises:
        FileNotFoundError: if there is no such folder.
    """

    def __init__(self, data_root: str | Path) -> None:
        self.data_root = Path(data_root)
        if not self.data_root.is_dir():
            raise FileNotFoundError(f'data_root={str(data_root)!r} is not a folder of heat maps')

    def transform(self, results: dict) -> dict:
        """Set `heat_maps`."""
        # `..` would lead out of the folder.
        whole = PurePath(results['img_path'].lstrip('/')).with_suffix('.png')
        parts = [part for part in whole.parts if part != '..']
        # Folders of one data set may hold the same names: as many of them as there are must fit.
        paths = (self.data_root.joinpath(*parts[i:]) for i in range(len(parts)))
        path = next((path for path in paths if path.is_file()), None)
        results['heat_maps'] = {}
        label = int(results['gt_label'])
        # A hidden label is below 0.
        if path is not None and label >= 0:
            heat = _read(path)
            if heat.any():
                results['heat_maps'] = {label: heat}
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(data_root={str(self.data_root)!r})'


def _read(path: Path) -> np.ndarray:
    """A grey image, (H, W) float32 in [0, 1]; an OSError that names the file if it is none."""
    try:
        # With 16 bits where the file has them.
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    # OpenCV's own error for an empty file.
    except cv2.error:
        pixels = None
    if pixels is None:
        raise OSError(f'{path}: this heat map cannot be read')
    most = {'uint8': 255, 'uint16': 65535}.get(str(pixels.dtype), 1)
    return pixels.astype(np.float32) / most
