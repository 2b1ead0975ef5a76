"""Transforms that leave a note of what of the image they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose, RandomApply, RandomChoice
from mmpretrain.datasets.transforms import RandAugment

from lfi.errors import UsageError
from lfi.registry import TRANSFORMS

from .stencils import Stencil, seen_through
from .view_matrix import erases, has_rule, no_rule, to_pixels, view_matrix
from .view_rules import learn_rules

MIXED = 'mixed'
"""Where `results` keep the `MixedSources` of a picture that shows several images."""


class Geometry(NamedTuple):
    """What `results` say of moved pixels: a step that changes it has moved some."""

    size: tuple[int, ...]
    """Height and width."""
    flip: str | None = None
    """Direction."""
    homography: tuple[float, ...] = tuple(np.eye(3).flat)
    """Of mmdet, by rows."""


class Recorded(NamedTuple):
    """Between which images `RecordView` has recorded the view."""

    came: Geometry | None
    """None if it loaded the image itself, or if a homography tells what was done before."""
    left: Geometry
    frames: tuple[Stencil, ...] = ()
    """Over the image that left: beyond them a step has lost what the file shows there."""


def refuse_read_maps(results: dict) -> None:
    """Check that no maps were read of a picture that is about to change.

    Raises:
        UsageError: if they were.
    """
    if 'interaction_maps' in results:
        raise UsageError(
            f'{results["img_path"]}: lfi.LoadInteractionMaps stands before a step that changes what the '
            'picture shows. Put it after all of them, just before the step that packs'
        )


def first_size(results: dict) -> tuple[int, ...] | None:
    """Height and width of the picture before it was moved: of the file, or as several were mixed in it."""
    size: tuple[int, ...] | None = results[MIXED].size if MIXED in results else results.get('ori_shape')
    return size


def is_unmoved(known: Geometry, found: Geometry) -> bool:
    """Whether no pixel has moved between two notes, as far as they tell."""
    # A flip that is not drawn takes back the word of an earlier one, and no pixel.
    return found._replace(flip=found.flip or known.flip) == known


def view_of(results: dict) -> np.ndarray:
    """The recorded view as a (3, 3) matrix; where none is recorded the picture is shown as it is."""
    view = results.get('view')
    return np.eye(3) if view is None else np.vstack((view.double().numpy(), [0, 0, 1]))


def frames_of(results: dict) -> tuple[Stencil, ...]:
    """The stencils through which a picture shows its first image, beside that image's own edges."""
    recorded: Recorded | None = results.get('recorded')
    return () if recorded is None else recorded.frames


def geometry_of(results: dict) -> Geometry:
    """What `results` say of moved pixels."""
    homography = results.get('homography_matrix')
    return Geometry(
        tuple(results['img'].shape[:2]),
        results.get('flip_direction') if results.get('flip') else None,
        tuple((np.eye(3) if homography is None else np.asarray(homography, np.float64)).flat),
    )


@TRANSFORMS.register_module()
class RecordView(BaseTransform):
    """Runs transforms and records what part of the image their output shows.

    The record lets maps of the unaugmented image, kept in a cache, be warped into the view. Put all
    transforms that move pixels into it, of mmcv, mmpretrain, mmdet or mmseg, and pass the record on by
    `PackInputs(algorithm_keys=('view',))`, in detection by `PackDetInputs(meta_keys=(..., 'view'))`, and in
    segmentation likewise.

    It sets `view`, (2, 3) float32: the affine map from the view's coordinates to the image's, both running
    from -1 to 1 over the complete picture, as `InteractionMaps.warp` takes it. The `homography_matrix` that
    mmdet's transforms keep stays right, and what they did before this one counts too, to within a pixel, as
    does an earlier `RecordView`. The edges between steps outside are not known: what one of them cut off and
    another brought back counts as shown. `recorded`, a `Recorded`, says for `LoadInteractionMaps` which image
    came and which one left, and what was lost in between.

    Args:
        transforms: configs or transforms; `Compose`, `RandomChoice`, `AutoAugment`, `RandomApply` and
            `RandAugment` may hold others.

    Raises:
        ValueError: if a transform is of a kind without a rule in `view_matrix`; the message names it. What
            shows several images stands outside, as `lfi.RecordedMosaic` or `lfi.RecordedMixUp`.
        UsageError: if `lfi.LoadInteractionMaps` has read the maps before.
    """

    def __init__(self, transforms: Sequence) -> None:
        self.transforms = Compose(transforms)
        leaves = _learn_rules(self.transforms)
        unknown = next((t for t in leaves if not has_rule(t)), None)
        if unknown is not None:
            raise ValueError(f'RecordView cannot follow {no_rule(unknown)}')

    def __setstate__(self, state: dict) -> None:
        # A worker that is spawned has imported nothing yet.
        self.__dict__.update(state)
        _learn_rules(self.transforms)

    def transform(self, results: dict) -> dict | None:
        """Run the transforms and set `view`."""
        refuse_read_maps(results)
        homography = results.get('homography_matrix')
        matrix, size, came, frames = _so_far(results)
        for transform in _chosen(self.transforms):
            # Of what loads, nothing comes before.
            before = results['img'].shape[:2] if 'img' in results else (0, 0)
            # A rule may want the transform's own matrix, not the product of all.
            results.pop('homography_matrix', None)
            # Some paint into the image itself.
            unerased = results['img'].copy() if erases(transform) else None
            with _keep_draws(transform):
                output: dict | None = transform(results)
                if output is None:
                    return None
                results = output
                step = view_matrix(transform, before, results)
            matrix, frames = matrix @ step, _framed(frames, step, results['img'].shape)
            if unerased is not None:
                frames = (*frames, *_kept(unerased, results['img']))
            if (own := results.get('homography_matrix')) is not None:
                homography = own if homography is None else own @ homography
            # Loading may be among the transforms.
            size = size or results['img'].shape
        # OpenCV writes no colours into the view of pixels that a flip leaves; packing would copy it later.
        results['img'] = np.ascontiguousarray(results['img'])
        if homography is not None:
            results['homography_matrix'] = homography
        pixels = to_pixels(results['img'].shape)
        view = np.linalg.inv(to_pixels(size)) @ matrix @ pixels
        results['view'] = torch.from_numpy(view[:2].astype(np.float32))
        results['recorded'] = Recorded(came, geometry_of(results), seen_through(frames, pixels))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.transforms})'


def _so_far(results: dict) -> tuple[np.ndarray, Any, Geometry | None, tuple[Stencil, ...]]:
    """The geometry of a picture before its first step here.

    Returns:
        The way from its pixels to those of the first one; the first one's size, or None where the image is
        not loaded yet; what came; and the frames over its pixels, its own edges among them.
    """
    if 'img' not in results:
        return np.eye(3), None, None, ()
    now, earlier = geometry_of(results), results.get('recorded')
    edges = _edges(now.size)
    if earlier is not None and is_unmoved(earlier.left, now):
        pixels = to_pixels(now.size)
        to_view = np.linalg.inv(pixels)
        frames = tuple(frame.seen(to_view) for frame in earlier.frames)
        return pixels @ view_of(results) @ to_view, now.size, earlier.came, (*frames, edges)
    # The homography of a mixed picture begins with it.
    if earlier is not None and MIXED not in results and not _told_by_homography(earlier.left, results):
        raise UsageError(
            f'the picture of {results.get("img_path", "an image")} was moved between two lfi.RecordView: put '
            'what moves it into one of the two'
        )
    homography = results.get('homography_matrix')
    if homography is None:
        return np.eye(3), now.size, now, (edges,)
    size, to_first = first_size(results), np.linalg.inv(homography.astype(np.float64))
    frames = (_edges(size).seen(to_first), edges)
    if earlier is not None:
        left = earlier.left
        # Both homographies count from the first picture.
        to_left = np.reshape(left.homography, (3, 3)) @ to_first
        lost = [frame.seen(np.linalg.inv(to_pixels(left.size))) for frame in earlier.frames]
        frames = (*frames, *(frame.seen(to_left) for frame in (*lost, _edges(left.size))))
    return to_first, size, None, frames


def _edges(size: Any) -> Stencil:
    """The edges of a picture of this size, over its pixels."""
    return Stencil(np.linalg.inv(to_pixels(size)))


def _kept(before: np.ndarray, after: np.ndarray) -> tuple[Stencil, ...]:
    """The pixels that were not painted over, as a stencil; none where all pixels are unchanged."""
    changed = reduce(cv2.max, cv2.split(cv2.absdiff(before, after)))
    same: np.ndarray = changed == 0
    return () if same.all() else (replace(_edges(before.shape), mask=same),)


def _framed(frames: tuple[Stencil, ...], step: np.ndarray, size: Any) -> tuple[Stencil, ...]:
    """Frames over the pixels of a step's output, whose edges join them.

    Args:
        frames: over the pixels of its input.
        step: the way from its output to its input.
        size: of its output.
    """
    pixels = to_pixels(size)
    over = seen_through(frames, step @ pixels)
    to_view = np.linalg.inv(pixels)
    return (*(frame.seen(to_view) for frame in over), _edges(size))


def _told_by_homography(left: Geometry, results: dict) -> bool:
    """Whether mmdet's note of a picture that was left tells all that was recorded of it."""
    size = first_size(results)
    if size is None:
        return False
    to_first = np.linalg.inv(np.reshape(left.homography, (3, 3)))
    told = np.linalg.inv(to_pixels(size)) @ to_first @ to_pixels(left.size)
    return np.allclose(told, view_of(results), atol=1e-4)


def _learn_rules(transforms: Compose) -> list[BaseTransform]:
    """The single transforms, once the rules for their kinds are there."""
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
    """Whether it runs all that it holds, as written or in an order that it draws."""
    if not isinstance(transform, Compose):
        return False
    # mmdet's RandomOrder draws one.
    return type(transform).transform is Compose.transform or hasattr(transform, '_random_permutation')


def _chosen(transform: BaseTransform) -> Iterator[BaseTransform]:
    """The transforms that run this time, in their order."""
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
        yield from _chosen(child)


@contextmanager
def _keep_draws(transform: BaseTransform) -> Iterator[None]:
    """A rule asks for the transform's draws once more.

    mmcv's own `cache_random_params` refuses RandomResizedCrop, whose subclass names the same draw again.
    """
    transform._cache_enabled = True
    try:
        yield
    finally:
        del transform._cache_enabled
        vars(transform).pop('_cache', None)
