"""`RecordView`: runs transforms and records the view that they show of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose, RandomApply, RandomChoice
from mmpretrain.datasets.transforms import RandAugment

from lfi.errors import UsageError
from lfi.registry import TRANSFORMS
from lfi.structures.interaction_cache import NUM_COMPLETE, CacheManifest
from lfi.utils.repositories import cache_folder

from .stencils import Stencil, transform_stencils
from .view_draws import COLOURS, VIEW_INDEX, cache_of, colours_of, requested_seed, seeded_draws, view_seed
from .view_matrix import erases, from_pixels, has_rule, no_rule_message, to_pixels, view_matrix
from .view_rules import learn_rules

MIXED = 'mixed'
"""Key under which `results` holds the `MixedSources` of a mixed picture."""


class Geometry(NamedTuple):
    """Geometry entries of `results`. A step that changes them has moved pixels."""

    size: tuple[int, ...]
    """Height and width."""
    flip: str | None = None
    """Direction of the flip."""
    homography: tuple[float, ...] = tuple(np.eye(3).flat)
    """mmdet's homography matrix, row by row."""


class ViewRecord(NamedTuple):
    """Geometry before and after the transforms of a `RecordView`."""

    before: Geometry | None
    """None if the transforms loaded the image, or if a homography records the earlier steps."""
    after: Geometry
    stencils: tuple[Stencil, ...] = ()
    """Stencils whose intersection is the visible part of the image in the output."""


def check_maps_not_loaded(results: dict) -> None:
    """Check that no maps have been loaded yet, since the picture is about to change.

    Raises:
        UsageError: if `results` holds maps.
    """
    if 'interaction_maps' in results:
        raise UsageError(
            f'{results["img_path"]}: lfi.LoadInteractionMaps stands before a step that changes what the '
            'picture shows. Put it after all such steps, just before the step that packs'
        )


def original_size(results: dict) -> tuple[int, ...] | None:
    """Return height and width of the image file; for a mixed picture its size just after the mixing."""
    size: tuple[int, ...] | None = results[MIXED].size if MIXED in results else results.get('ori_shape')
    return size


def is_unmoved(before: Geometry, after: Geometry) -> bool:
    """Whether no pixel has moved between two geometries."""
    # A random flip that is not drawn resets `flip`, although no pixel moves.
    return after._replace(flip=after.flip or before.flip) == before


def view_of(results: dict) -> np.ndarray:
    """Return the recorded view as a (3, 3) matrix, the identity if none is recorded."""
    view = results.get('view')
    return np.eye(3) if view is None else np.vstack((view.double().numpy(), [0, 0, 1]))


def stencils_of(results: dict) -> tuple[Stencil, ...]:
    """Return the recorded stencils of a picture, without the stencil of the image file's edges."""
    recorded: ViewRecord | None = results.get('recorded')
    return () if recorded is None else recorded.stencils


def geometry_of(results: dict) -> Geometry:
    """Return the geometry entries of `results`."""
    homography = results.get('homography_matrix')
    return Geometry(
        tuple(results['img'].shape[:2]),
        results.get('flip_direction') if results.get('flip') else None,
        tuple((np.eye(3) if homography is None else np.asarray(homography, np.float64)).flat),
    )


@TRANSFORMS.register_module()
class RecordView(BaseTransform):
    """Run transforms and record the part of the image that their output shows.

    The record is used to warp cached maps of the unaugmented image into the view. Put all transforms of mmcv,
    mmpretrain, mmdet or mmseg that move pixels into it, and pack the record:
    `PackInputs(algorithm_keys=('view',))`, or for detection and segmentation `meta_keys=(..., 'view')`.

    It sets `view`, (2, 3) float32, the affine map from the view's coordinates to the image's. Both have
    coordinates from -1 to 1 from edge to edge; see `InteractionMaps.warp`. It also sets `recorded`, a
    `ViewRecord`, which `LoadInteractionMaps` checks. mmdet's `homography_matrix` stays correct. The view also
    accounts for steps before this one: exactly for those inside an earlier `RecordView`, and to within a
    pixel for other steps of mmdet. The picture's sizes between these other steps are not known. If one step
    crops pixels away and a later one pads the same place, the padding counts as image.

    Args:
        transforms: configs or transforms; `Compose`, `RandomChoice`, `AutoAugment`, `RandomApply` and
            `RandAugment` may hold others.
        cache: folder of a cache with drawn views (`lfi cache --views K`, K > 2), which `tools/train.py`
            sets. One of the K views is chosen at random for each image and epoch. A drawn view is drawn
            again, with the random numbers of `lfi cache`. In the two cases of the complete image the view is
            new. Defaults to None: each view is new.
        labelled_cache: folder of the cache of the labelled images, with more views of each. Defaults to None:
            `cache`.

    Raises:
        ValueError: if `view_matrix` has no rule for a transform. Use `lfi.RecordedMosaic`,
            `lfi.RecordedMixUp` and the like, outside `RecordView`, to mix images.
        UsageError: if `lfi.LoadInteractionMaps` stands before this step.
    """

    def __init__(
        self,
        transforms: Sequence,
        cache: str | Path | None = None,
        labelled_cache: str | Path | None = None,
    ) -> None:
        self.cache, self.labelled_cache = cache, labelled_cache
        self._manifests: dict[str, CacheManifest] = {}
        self.transforms = Compose(transforms)
        leaves = _learn_rules(self.transforms)
        unknown = next((t for t in leaves if not has_rule(t)), None)
        if unknown is not None:
            raise ValueError(f'RecordView cannot follow {no_rule_message(unknown)}')

    def __setstate__(self, state: dict) -> None:
        # A spawned worker has not imported the rules yet.
        self.__dict__.update(state)
        _learn_rules(self.transforms)

    def transform(self, results: dict) -> dict | None:
        """Run the transforms and set `view`."""
        check_maps_not_loaded(results)
        seed = self._seed(results)
        if seed is None:
            return self._run(results)
        with seeded_draws(seed):
            drawn = self._run(results)
        if drawn is not None:
            drawn[COLOURS] = colours_of(drawn['img'])
        return drawn

    def _seed(self, results: dict) -> int | None:
        """Choose a recorded view, and return the seed to draw it again; None for a new view."""
        seed = requested_seed()
        if seed is not None or self.cache is None:
            return seed
        folder = str(cache_of(results, self.cache, self.labelled_cache))
        if folder not in self._manifests:
            self._manifests[folder] = CacheManifest.read(cache_folder(folder))
        manifest = self._manifests[folder]
        if VIEW_INDEX not in results:
            results[VIEW_INDEX] = int(np.random.randint(manifest.views))  # noqa: NPY002
        if results[VIEW_INDEX] < NUM_COMPLETE:
            return None
        return view_seed(results['img_path'], manifest.name_parts, results[VIEW_INDEX])

    def _run(self, results: dict) -> dict | None:
        homography = results.get('homography_matrix')
        matrix, size, input_geometry, stencils = _input_view(results)
        for transform in _drawn_transforms(self.transforms):
            # A loading step has no input image.
            before = results['img'].shape[:2] if 'img' in results else (0, 0)
            # Some rules read the matrix of this transform. mmdet would multiply it onto an earlier matrix.
            results.pop('homography_matrix', None)
            # Some transforms paint into the image in place.
            unerased = results['img'].copy() if erases(transform) else None
            with _keep_draws(transform):
                output: dict | None = transform(results)
                if output is None:
                    return None
                results = output
                step_matrix = view_matrix(transform, before, results)
            matrix = matrix @ step_matrix
            stencils = _output_stencils(stencils, step_matrix, results['img'].shape)
            if unerased is not None:
                stencils = (*stencils, *_unchanged_pixels(unerased, results['img']))
            if (step_homography := results.get('homography_matrix')) is not None:
                homography = step_homography if homography is None else step_homography @ homography
            # The transforms may load the image.
            size = size or results['img'].shape
        # A flip leaves a strided view, into which OpenCV cannot draw. Packing would copy it anyway.
        results['img'] = np.ascontiguousarray(results['img'])
        if homography is not None:
            results['homography_matrix'] = homography
        view_to_pixels = to_pixels(results['img'].shape)
        view = from_pixels(size) @ matrix @ view_to_pixels
        results['view'] = torch.from_numpy(view[:2].astype(np.float32))
        stencils = transform_stencils(stencils, view_to_pixels)
        results['recorded'] = ViewRecord(input_geometry, geometry_of(results), stencils)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.transforms})'


def _input_view(results: dict) -> tuple[np.ndarray, Any, Geometry | None, tuple[Stencil, ...]]:
    """Return the view of a picture before the transforms.

    Returns:
        The matrix from the picture's pixels to the original image's; the original size, or None if no image
        is loaded yet; the geometry to record as `before`; and the stencils over the picture, its edges among
        them.
    """
    if 'img' not in results:
        return np.eye(3), None, None, ()
    current, record = geometry_of(results), results.get('recorded')
    edges = _edges(current.size)
    if record is not None and is_unmoved(record.after, current):
        view_to_pixels, pixels_to_view = to_pixels(current.size), from_pixels(current.size)
        stencils = tuple(stencil.transformed(pixels_to_view) for stencil in record.stencils)
        matrix = view_to_pixels @ view_of(results) @ pixels_to_view
        return matrix, current.size, record.before, (*stencils, edges)
    # The homography of a mixed picture starts after the mixing.
    if record is not None and MIXED not in results and not _homography_matches_view(record.after, results):
        raise UsageError(
            f'the picture of {results.get("img_path", "an image")} was moved between two lfi.RecordView: put '
            'the step that moves it into one of the two'
        )
    homography = results.get('homography_matrix')
    if homography is None:
        return np.eye(3), current.size, current, (edges,)
    size, to_original = original_size(results), np.linalg.inv(homography.astype(np.float64))
    stencils = (_edges(size).transformed(to_original), edges)
    if record is not None:
        earlier = record.after
        # The homographies of the earlier output and of this picture both start at the original image.
        to_earlier = np.reshape(earlier.homography, (3, 3)) @ to_original
        pixels_to_view = from_pixels(earlier.size)
        earlier_stencils = [stencil.transformed(pixels_to_view) for stencil in record.stencils]
        earlier_stencils.append(_edges(earlier.size))
        stencils = (*stencils, *(stencil.transformed(to_earlier) for stencil in earlier_stencils))
    return to_original, size, None, stencils


def _edges(size: Any) -> Stencil:
    """Return the edges of a picture of (height, width, ...) as a stencil over its pixels."""
    return Stencil(from_pixels(size))


def _unchanged_pixels(before: np.ndarray, after: np.ndarray) -> tuple[Stencil, ...]:
    """Return a stencil of the pixels that were not painted over, or none if no pixel has changed."""
    changed = reduce(cv2.max, cv2.split(cv2.absdiff(before, after)))
    same: np.ndarray = changed == 0
    return () if same.all() else (replace(_edges(before.shape), mask=same),)


def _output_stencils(
    stencils: tuple[Stencil, ...], step_matrix: np.ndarray, size: Any
) -> tuple[Stencil, ...]:
    """Move stencils to the pixels of a step's output, and add the edges of the output.

    Args:
        stencils: stencils over the pixels of the step's input.
        step_matrix: (3, 3), from the pixels of the output to the pixels of the input.
        size: height and width of the output.
    """
    visible = transform_stencils(stencils, step_matrix @ to_pixels(size))
    pixels_to_view = from_pixels(size)
    return (*(stencil.transformed(pixels_to_view) for stencil in visible), _edges(size))


def _homography_matches_view(geometry: Geometry, results: dict) -> bool:
    """Whether the homography of a recorded geometry gives the recorded view."""
    size = original_size(results)
    if size is None:
        return False
    to_original = np.linalg.inv(np.reshape(geometry.homography, (3, 3)))
    view = from_pixels(size) @ to_original @ to_pixels(geometry.size)
    return np.allclose(view, view_of(results), atol=1e-4)


def _learn_rules(transforms: Compose) -> list[BaseTransform]:
    """Register the rules for all transforms, and return the transforms that hold no others."""
    leaves = list(_leaves(transforms))
    learn_rules(type(transform) for transform in leaves)
    return leaves


def _leaves(transform: BaseTransform) -> Iterator[BaseTransform]:
    if isinstance(transform, RandomChoice | RandomApply | RandAugment) or _runs_all(transform):
        for child in transform:
            yield from _leaves(child)
    else:
        yield transform


def _runs_all(transform: BaseTransform) -> bool:
    """Whether a transform runs all transforms that it holds, in a fixed or drawn order."""
    if not isinstance(transform, Compose):
        return False
    # mmdet's RandomOrder draws its order.
    return type(transform).transform is Compose.transform or hasattr(transform, '_random_permutation')


def _drawn_transforms(transform: BaseTransform) -> Iterator[BaseTransform]:
    """Draw the transforms to run, in their order."""
    if _runs_all(transform):
        draw = getattr(transform, '_random_permutation', None)
        children = [transform.transforms[i] for i in draw()] if draw else transform.transforms
    elif isinstance(transform, RandomChoice):
        # mmdet's RandAugment draws several.
        children = [transform.transforms[i] for i in np.atleast_1d(transform.random_pipeline_index())]
    elif isinstance(transform, RandomApply):
        children = transform.transforms if transform.random_apply() else []
    elif isinstance(transform, RandAugment):
        children = [transform.transforms[i] for i in transform.random_policy_indices()]
    else:
        yield transform
        return
    for child in children:
        yield from _drawn_transforms(child)


@contextmanager
def _keep_draws(transform: BaseTransform) -> Iterator[None]:
    """Cache the random draws of a transform, because its rule reads them.

    mmcv's `cache_random_params` raises an error for `RandomResizedCrop`: its subclass
    `EfficientNetRandomCrop` decorates the same method again, so that mmcv counts each draw twice.
    """
    transform._cache_enabled = True
    try:
        yield
    finally:
        del transform._cache_enabled
        vars(transform).pop('_cache', None)
