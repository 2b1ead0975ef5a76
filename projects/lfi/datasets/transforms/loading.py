"""Transforms that load maps, regions, captions and heat maps of an image."""

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

from lfi.concepts.caption_phrases import get_splitter, read_captions
from lfi.concepts.names import concept_names, plain_name
from lfi.datasets.regions import objects_of
from lfi.errors import UsageError
from lfi.registry import TRANSFORMS
from lfi.structures.interaction_cache import (
    NUM_COMPLETE,
    CacheManifest,
    InteractionCache,
    SidecarImage,
    StoredMaps,
)
from lfi.utils.repositories import cache_folder

from .mixed_sources import refuse_unrecorded_changes, tiles_of
from .record_view import RecordView, view_of
from .view_draws import COLOURS, VIEW_INDEX, cache_of

RECORDS = 'cached_records'
"""Key under which `lfi.WebDataset` gives the cached maps of an image, a `SidecarImage`."""
VIEW_TOLERANCE = 1e-4
"""Largest difference of a view from the recorded one, in half sizes of the image. Float32 rounds less."""


COLOUR_TOLERANCE = 2
"""Largest difference of a drawn view's mean colours from the recorded ones, in [0, 255]."""


@TRANSFORMS.register_module()
class LoadInteractionMaps(BaseTransform):
    """Load the cached maps of an image, or of all images in a picture that `lfi.RecordedMosaic` mixed.

    The data loader's workers read the cache. The transform sets `interaction_maps`, a `StoredMaps`. Pack it
    with the `view` that the model warps the maps into:
    `PackInputs(algorithm_keys=('view', 'interaction_maps'))`, or for detection
    `PackDetInputs(meta_keys=(..., 'view', 'interaction_maps'))`.

    Args:
        cache: folder that `lfi cache` wrote, equal to `model.teacher.cache`, from which `tools/train.py`
            copies it. Defaults to None: nothing is read, and the teacher runs online.
        labelled_cache: folder of the cache of the labelled images, with more views of each. Defaults to None:
            `cache`.

    Raises:
        UsageError: if size or mmdet's records show that a step outside `lfi.RecordView` flipped, resized or
            cropped the image (`refuse_unrecorded_steps` checks the config for other steps); or if a drawn
            view differs from the recorded one.
        CacheError: if the cache is missing or incomplete, or lacks the image.
    """

    def __init__(self, cache: str | Path | None = None, labelled_cache: str | Path | None = None) -> None:
        self.cache, self.labelled_cache = cache, labelled_cache
        # Each worker opens the caches itself: memory maps cannot be pickled.
        self._opened: dict[str, InteractionCache] = {}
        self._digest: str | None = None

    def __getstate__(self) -> dict:
        """Return the state without opened caches."""
        return {**vars(self), '_opened': {}}

    def transform(self, results: dict) -> dict:
        """Set `interaction_maps`."""
        if self.cache is None:
            return results
        if 'interaction_maps' in results:
            raise UsageError(
                f'{results["img_path"]}: the pipeline has two lfi.LoadInteractionMaps: remove one'
            )
        refuse_unrecorded_changes(results)
        cache = results.pop(RECORDS, None)
        if cache is None:
            folder = cache_of(results, self.cache, self.labelled_cache)
            assert folder is not None
            cache = self._open(folder)
        if results.get(VIEW_INDEX, 0) >= NUM_COMPLETE:
            return self._load_drawn_view(results, cache)
        paths, tiles = tiles_of(results)
        if cache.manifest.views == 1:
            stored = cache.stored(paths, tiles)
            results['interaction_maps'] = self._of_cache(stored)
            return results
        # The teacher's answer for a mirrored image is not the mirrored answer.
        views = view_of(results)[None, :2] if tiles is None else tiles.views.numpy()
        is_mirrored = np.linalg.det(views[..., :2]) < 0
        converted = torch.from_numpy(_of_mirrored(views, is_mirrored).astype(np.float32))
        if tiles is None:
            results['view'] = converted[0]
        else:
            tiles = tiles._replace(views=converted)
        stored = cache.stored(paths, tiles, is_mirrored.astype(int).tolist())
        results['interaction_maps'] = self._of_cache(stored)
        return results

    def _of_cache(self, stored: StoredMaps) -> StoredMaps:
        """Return maps as those of `cache`, which has the same teacher as `labelled_cache`."""
        if self.labelled_cache is None:
            return stored
        assert self.cache is not None
        if self._digest is None:
            self._digest = CacheManifest.read(cache_folder(self.cache)).digest
        return stored._replace(cache_digest=self._digest)

    def _open(self, folder: str | Path) -> InteractionCache:
        if str(folder) not in self._opened:
            self._opened[str(folder)] = InteractionCache(folder)
        return self._opened[str(folder)]

    def _load_drawn_view(self, results: dict, cache: InteractionCache | SidecarImage) -> dict:
        """Set the maps of a view that `RecordView` has drawn again. They need no warp."""
        path, view = results['img_path'], results[VIEW_INDEX]
        stored = cache.stored([path], views=[view])
        error = np.abs(view_of(results)[:2] - stored.record['view'][0]).max()
        colours = stored.record['colours'][0].astype(int)
        change = np.abs(colours - results[COLOURS]).max()
        if not error <= VIEW_TOLERANCE or change > COLOUR_TOLERANCE:
            difference = (
                f'by {error:.2g} of half the image'
                if not error <= VIEW_TOLERANCE
                else f'in its colours by {change} of 255'
            )
            raise UsageError(
                f'{path}: view {view} in {self.cache} differs {difference} from the one that the transforms '
                'draw here. Another pipeline drew it, other versions of its libraries draw other numbers, or '
                'the annotations have changed: write the cache again with the config of this training'
            )
        results['interaction_maps'] = self._of_cache(stored)
        results['view'] = torch.eye(2, 3)
        return results

    def __repr__(self) -> str:
        """Return the type and the folder of the cache."""
        return f'{type(self).__name__}(cache={self.cache!r})'


def _of_mirrored(views: np.ndarray, is_mirrored: np.ndarray) -> np.ndarray:
    """Convert views (n, 2, 3) of an image to views of the mirrored image, where `is_mirrored` (n,)."""
    converted = views.copy()
    converted[is_mirrored, 0] *= -1
    return converted


@TRANSFORMS.register_module()
class LoadRegions(BaseTransform):
    """Load the region of each class of an image, for `lfi.SemanticConsistencyMetric`.

    Put this transform after the steps that load the image and its annotations, and put all transforms that
    move pixels into it. It sets `regions`, a (h, w) bool array for each class that is visible in the
    transformed image, and `crowds`, the classes that only ignored objects show, such as COCO's crowds. It
    warps `heat_maps` of `lfi.LoadHeatMap` into the same view and size. Pack them by
    `PackInputs(algorithm_keys=('regions', 'heat_maps'))`, or for detection by
    `PackDetInputs(meta_keys=(..., 'regions', 'crowds', 'heat_maps'))`.

    Args:
        transforms: configs or transforms to run in a `RecordView`. Defaults to ().

    Raises:
        ValueError: if `RecordView` has no rule for a transform; or if an image was changed before this step,
            or has neither masks nor boxes nor heat maps.
    """

    def __init__(self, transforms: Sequence = ()) -> None:
        self.record_view = RecordView(transforms)

    def transform(self, results: dict) -> dict | None:
        """Set `regions` and `crowds`, and run the transforms."""
        size, loaded = results['img'].shape[:2], results.get('ori_shape')
        if (loaded is not None and tuple(loaded[:2]) != size) or results.get('flip'):
            raise ValueError(
                f'lfi.LoadRegions: the image, {size} pixels, has been changed since it was loaded with '
                f'{loaded}, so its annotations may not fit it. Put the transforms that move pixels into '
                "dict(type='lfi.LoadRegions', transforms=[...]), and load the annotations before it"
            )
        annotated = 'gt_masks' in results or 'gt_bboxes' in results
        needs_objects = annotated or 'heat_maps' not in results
        objects = objects_of(results) if needs_objects else None
        regions, crowds = ({}, {}) if objects is None else (objects.regions(), objects.crowds())
        transformed: dict | None = self.record_view(results)
        if transformed is None:
            return None
        results = transformed
        view, size = results['view'], results['img'].shape[:2]
        results['regions'] = _regions_in_view(regions, view, size)
        results['crowds'] = sorted(_regions_in_view(crowds, view, size).keys() - results['regions'].keys())
        if 'heat_maps' in results:
            results['heat_maps'] = {
                concept: warped
                for concept, heat in results['heat_maps'].items()
                if (warped := _warp(torch.from_numpy(heat), view, size, 'bilinear')).any()
            }
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.record_view})'


def _regions_in_view(
    regions: Mapping[int, np.ndarray], view: Tensor, size: tuple[int, int]
) -> dict[int, np.ndarray]:
    """Warp regions (H, W) bool into a view, (h, w) bool; leave out regions that the view does not show."""
    return {
        concept: warped.astype(bool)
        for concept, mask in regions.items()
        if (warped := _warp(torch.from_numpy(mask).float(), view, size, 'nearest')).any()
    }


def _warp(picture: Tensor, view: Tensor, size: tuple[int, int], mode: str) -> np.ndarray:
    """Warp a picture (H, W) float into a view (2, 3) of size (h, w), with 0 outside the picture."""
    points = F.affine_grid(view[None], [1, 1, *size], align_corners=False)
    batch = F.grid_sample(picture[None, None], points, mode, padding_mode='border', align_corners=False)
    # An array, because workers pass tensors through file descriptors, whose number is limited.
    return (batch[0, 0] * (points[0].abs() <= 1).all(-1)).numpy()


# Number of images with captions after which a worker warns if no phrase was a concept.
IMAGES_BEFORE_WARNING = 100


@TRANSFORMS.register_module()
class LoadCaptionConcepts(BaseTransform):
    """Match the phrases of an image's captions with the teacher's concepts, ignoring case.

    The teacher is then asked about these concepts, as about the labels of the image. The transform sets
    `gt_concepts`, (n,) int64, indices in the bank; n may be 0. Pack it by
    `PackInputs(algorithm_keys=('gt_concepts',))`. A worker warns if its first 100 images with captions name
    no concept.

    Args:
        concepts: concepts of the teacher, names or a config; see `concept_names`.
        ann_file: caption file; see `read_captions`. Images are matched by file name. Defaults to None: the
            data info has the captions under `caption`, a string or several.
        splitter: 'noun_phrases' or 'caption'. Defaults to 'noun_phrases'.

    Raises:
        ValueError: if the splitter is unknown, or `concepts` or `ann_file` is malformed.
    """

    def __init__(
        self,
        concepts: Sequence[str] | dict,
        ann_file: str | Path | None = None,
        splitter: str = 'noun_phrases',
    ) -> None:
        # Several concepts may share a name.
        self.indices_of: dict[str, list[int]] = {}
        for index, name in enumerate(concept_names(concepts)):
            self.indices_of.setdefault(plain_name(name), []).append(index)
        self.split = get_splitter(splitter)
        self.ann_file = ann_file
        self.captions = None if ann_file is None else read_captions(ann_file)
        # Number of images without a match, or None after the first match or the warning.
        self._unmatched: int | None = 0

    def transform(self, results: dict) -> dict:
        """Set `gt_concepts`."""
        if self.captions is None:
            if 'caption' not in results:
                raise ValueError(
                    f'{results.get("img_path")} has no caption: set ann_file of lfi.LoadCaptionConcepts, or '
                    'use a data set that has captions'
                )
            captions = results['caption']
            captions = [captions] if isinstance(captions, str) else captions
        else:
            captions = self.captions.get(PurePath(results['img_path']).name, [])
        phrases = [phrase for caption in captions for phrase in self.split(caption)]
        indices = sorted(
            {index for phrase in phrases for index in self.indices_of.get(plain_name(phrase), ())}
        )
        if self._unmatched is not None and phrases:
            self._unmatched = None if indices else self._unmatched + 1
        if self._unmatched == IMAGES_BEFORE_WARNING:
            self._unmatched = None
            print_log(
                f'lfi.LoadCaptionConcepts: no phrase of {IMAGES_BEFORE_WARNING} images is a concept, such as '
                f'{phrases[0]!r}. To ask about phrases set '
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
    """Load the heat map of people's gaze for an image's class, for `lfi.SemanticConsistencyMetric`.

    A heat map is a grey picture of the complete image, of any size, brighter where people looked more. Its
    file has the name of the image, in the same subfolders or in none. Put the transform before
    `lfi.LoadRegions`. It sets `heat_maps`, a dict from `gt_label` to a (H, W) float32 array in [0, 1]. The
    dict is empty if the image has no file or the map is black.

    Args:
        data_root: folder of the heat maps, .png files.

    Raises:
        FileNotFoundError: if `data_root` is no folder.
    """

    def __init__(self, data_root: str | Path) -> None:
        self.data_root = Path(data_root)
        if not self.data_root.is_dir():
            raise FileNotFoundError(f'data_root={str(data_root)!r} is not a folder of heat maps')

    def transform(self, results: dict) -> dict:
        """Set `heat_maps`."""
        # `..` would leave the folder.
        whole = PurePath(results['img_path'].lstrip('/')).with_suffix('.png')
        parts = [part for part in whole.parts if part != '..']
        # Subfolders may hold files of the same name, so the longest matching path counts.
        paths = (self.data_root.joinpath(*parts[i:]) for i in range(len(parts)))
        path = next((path for path in paths if path.is_file()), None)
        results['heat_maps'] = {}
        label = int(results['gt_label'])
        # A hidden label is below 0.
        if path is not None and label >= 0:
            heat = _read_heat_map(path)
            if heat.any():
                results['heat_maps'] = {label: heat}
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(data_root={str(self.data_root)!r})'


def _read_heat_map(path: Path) -> np.ndarray:
    """Read a grey image, (H, W) float32 in [0, 1]. Raises an OSError if the file is no image."""
    try:
        # Keep 16 bits if the file has them.
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    # OpenCV raises for an empty file.
    except cv2.error:
        pixels = None
    if pixels is None:
        raise OSError(f'{path}: this heat map cannot be read')
    max_value = {'uint8': 255, 'uint16': 65535}.get(str(pixels.dtype), 1)
    return pixels.astype(np.float32) / max_value
