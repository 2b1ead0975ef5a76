"""Teachers that read their outputs from a cache: interaction maps, or features of a CNN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.structures import (
    DIRECTIONS,
    BatchView,
    ImageFeatures,
    InteractionMaps,
    StudentGrid,
    Tiles,
    maps_in_view,
    mean_maps,
    mix_maps,
    place_images,
    unpack,
    visible_shares,
)
from lfi.structures.interaction_cache import CacheError, CacheFolder, InteractionCache, StoredMaps, difference

from .asked_concepts import (
    choose_concepts,
    maps_of_concepts,
    num_asked_concepts,
    num_kept_concepts,
    topk_concepts,
)
from .families import AUTO
from .teacher import Teacher
from .teacher_identity import max_concepts_of, teacher_identity
from .vlm_attention_teacher import VLMAttentionTeacher


class CachedOutputs(Teacher):
    """Base class of teachers that read the outputs for unaugmented images from a cache of `lfi cache`.

    Training from a cache needs neither the weights nor forward passes of the teacher. The data loader's
    workers read the records (`lfi.LoadInteractionMaps`). This class reads the manifest and unpacks records.

    Args:
        cache: folder of the cache.
        teacher: config of the cache's teacher.

    Raises:
        CacheError: if the cache is incomplete, or of another teacher. The message names the differing field.
    """

    @staticmethod
    def identity(teacher: dict) -> dict:
        """Return the identity of a teacher in the manifest of its cache, from the teacher's config."""
        return maps_identity(teacher)

    def __init__(self, cache: str, teacher: dict) -> None:
        self.cache = open_cache(cache, self.identity(teacher))
        self.bank = bank_of(self.cache)
        self._text_embeddings = self.bank.embeddings
        self.max_concepts = num_asked_concepts(self.bank, max_concepts_of(teacher))

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions in which the maps can be read: 'spatial', 'semantic' or both."""
        return self.cache.manifest.directions

    @property
    def presence_kind(self) -> str | None:
        """Description of the presence; see `VLMAttentionTeacher.presence_kind`. None if unknown."""
        return self.cache.manifest.presence_kind

    @property
    def text_embeddings(self) -> Tensor:
        """Unit embeddings of all texts of the bank, (C, E), on the device of the latest call."""
        return self._text_embeddings

    def ask(self, batch: BatchView) -> InteractionMaps:
        """Return the maps of a batch's unaugmented images, each a picture of its own, on the teacher's grid.

        With `max_concepts`, they are those of the images' labels, and of the teacher's top concepts. Presence
        is the teacher's own, of the unaugmented image.

        Raises:
            CacheError: if the batch has no maps of this cache, or no views.
        """
        return self._asked_about(self.maps_of_images(batch), batch.labels)

    def maps_in(self, batch: BatchView, grid: StudentGrid) -> InteractionMaps:
        """Return the maps of the views on the student's grid: maps of unaugmented images, warped and mixed.

        The labels of a picture, and the presence in all its images, choose the concepts of each of them.

        Raises:
            CacheError: if the batch has no maps of this cache, or no views.
        """
        maps, views = self.maps_of_images(batch), _views_of(batch)
        if batch.tiles is None and batch.mixture is None:
            return maps_in_view(self._asked_about(maps, batch.labels), grid, batch.valid_sizes, views)
        placement = place_images(batch, views, grid)
        images = placement.take(maps)
        if self.max_concepts is not None:
            concepts = choose_concepts(images, placement.area, batch.labels, self.bank, self.max_concepts)
            # `OTHER` is the rest of an image on the teacher's grid, in a mixed picture as in any other.
            images = [maps_of_concepts(image_maps, concepts, len(self.bank)) for image_maps in images]
        return mix_maps(placement.warp(images), placement.share)

    def _asked_about(self, maps: InteractionMaps, labels: Tensor | None) -> InteractionMaps:
        """Reduce the maps of each image to `max_concepts` concepts, labels (B, C) first."""
        if self.max_concepts is None:
            return maps
        return topk_concepts(maps, labels, self.bank, self.max_concepts)

    def maps_of_images(self, batch: BatchView) -> InteractionMaps:
        """Return the maps of a batch's unaugmented images, of all concepts that the cache keeps.

        Raises:
            CacheError: if the batch has no maps of this cache, or no views.
        """
        return self.stored_outputs(batch)

    def maps_of(self, stored: Sequence[StoredMaps], device: torch.device) -> InteractionMaps:
        """Unpack the maps of unaugmented images, on the teacher's own grid.

        Args:
            stored: record of each image in the cache.
            device: device of the maps.

        Raises:
            CacheError: if a record is of another cache.
        """
        if any(maps.cache_digest != self.cache.digest for maps in stored):
            raise CacheError(
                f'model.teacher.cache={self.cache.address!r}, but the pipeline reads another cache: give '
                'lfi.LoadInteractionMaps the same folder'
            )
        self._text_embeddings = self._text_embeddings.to(device)
        manifest = self.cache.manifest
        records = np.concatenate([maps.record for maps in stored])
        return unpack(records, manifest.layers, manifest.directions, device)

    def stored_outputs(self, batch: BatchView) -> InteractionMaps:
        """Return what the cache stores of a batch's unaugmented images, on the teacher's own grid.

        These are interaction maps, or features with each channel in the form of a map (`CachedFeatures`).

        Raises:
            CacheError: if the pipeline reads no maps or another cache, or records no views.
        """
        if batch.stored is None:
            raise CacheError(
                f"model.teacher.cache={self.cache.address!r} needs each image's maps: put "
                "dict(type='lfi.LoadInteractionMaps', cache=...) with this folder into the train_pipeline of "
                "each data set, and pack the maps: PackInputs needs algorithm_keys=('view', "
                "'interaction_maps'), PackDetInputs meta_keys=(..., 'view', 'interaction_maps')"
            )
        if batch.views is None:
            raise CacheError(
                "model.teacher.cache needs each image's view: in the train_pipeline of each data set, wrap "
                "all transforms that move pixels in dict(type='lfi.RecordView', transforms=[...]), and pack "
                "the view: PackInputs needs algorithm_keys=('view', ...), PackDetInputs meta_keys=(..., "
                "'view')"
            )
        return self.maps_of(batch.stored, batch.inputs.device)


class CachedTeacher(CachedOutputs):
    """Cached interaction maps of unaugmented images. See `CachedOutputs` for arguments and errors."""

    def __init__(self, cache: str, teacher: dict) -> None:
        super().__init__(cache, teacher)
        kept = num_asked_concepts(self.bank, num_kept_concepts(self.max_concepts))
        # One more map stands for all others.
        check_map_count(self.cache, len(self.bank) if kept is None else kept + 1)


def _views_of(batch: BatchView) -> Tensor:
    """Return the recorded views of a batch. `stored_outputs` has checked that they exist."""
    assert batch.views is not None
    return batch.views


def open_cache(folder: str, identity: dict) -> CacheFolder:
    """Open the cache of a teacher, given the teacher's identity; an `InteractionCache` for images in folders.

    Raises:
        CacheError: if there is no cache, or it is of another teacher.
    """
    cache = CacheFolder(folder)
    if not cache.manifest.has_sidecars:
        cache = InteractionCache(folder)
    cached_identity = dict(cache.manifest.teacher)
    if identity['weights'] is None and cached_identity.get('weights') is not None:
        print_log(f"{folder}: the teacher's weights are missing, so they are not compared", 'current')
        identity = {**identity, 'weights': cached_identity['weights']}
        if identity.get('extractor') == dict(type=AUTO) and 'extractor' in cached_identity:
            identity['extractor'] = cached_identity['extractor']
        if 'whole_patches' in cached_identity:
            # Without the weights, it is unknown whether patches fill the model's own size.
            identity['whole_patches'] = cached_identity['whole_patches']
    mismatch = difference('teacher', cached_identity, identity)
    if mismatch:
        raise CacheError(f'{folder} does not fit the config: {mismatch}. Write another by lfi cache')
    return cache


def check_map_count(cache: CacheFolder, count: int) -> None:
    """Check the number of maps in a cache's records.

    Raises:
        CacheError: if the records do not have `count` maps.
    """
    num_maps = cache.manifest.packed_dtype['presence'].shape[0]
    if num_maps != count:
        raise CacheError(
            f'{cache.address} is corrupted: its records have {num_maps} maps, but its text embeddings '
            f'imply {count}. Write another by lfi cache'
        )


def bank_of(cache: CacheFolder) -> ConceptBank:
    """Return the concept bank of a cache's teacher."""
    identity = cache.manifest.teacher
    background = identity['background']
    return ConceptBank(
        (*identity['concepts'], *background),
        tuple(identity['templates']),
        torch.from_numpy(cache.text_embeddings),
        len(background),
    )


def maps_identity(config: dict) -> dict:
    """Return the identity of a teacher's cached maps, from the teacher's config.

    It has no `max_concepts`, but `kept_concepts`, their number in a cache, if a cache has not all of them.
    """
    kept = num_kept_concepts(max_concepts_of(config))
    identity = teacher_identity(config)
    if kept is None:
        return identity
    # Another teacher class may name no concepts.
    num_concepts = len(identity.get('concepts') or ())
    kept_all = dict() if 0 < num_concepts <= kept else dict(kept_concepts=kept)
    return {**identity, 'max_concepts': None, **kept_all}


def feature_identity(config: dict) -> dict:
    """Return the identity of a teacher's features, which differs from that of the teacher's maps."""
    return {**maps_identity({**config, 'max_concepts': None}), 'kept': 'features'}


def maps_to_cache(teacher: Teacher, batch: BatchView) -> InteractionMaps:
    """Compute the maps of unaugmented images that a cache stores.

    The teacher alone chooses their concepts, `KEPT_FOR_ASKED` times as many as training asks about.

    Args:
        teacher: teacher with maps.
        batch: batch of unaugmented images. Its labels are not read.
    """
    asked = teacher.max_concepts
    teacher.max_concepts = num_asked_concepts(teacher.bank, num_kept_concepts(asked))
    try:
        return teacher.ask(replace(batch, labels=None))
    finally:
        teacher.max_concepts = asked


def features_to_cache(teacher: VLMAttentionTeacher, batch: BatchView) -> InteractionMaps:
    """Compute the features of unaugmented images, in the form of maps that a cache stores.

    Args:
        teacher: teacher with a CNN.
        batch: batch of unaugmented images.

    Raises:
        ValueError: if the extractor reads no features, the embedding is not the mean of the locations, this
            mean's length is not 1, or the teacher scores each concept independently, because presence from
            features is always a softmax over the bank.
    """
    if not teacher.presence_kind.startswith('softmax'):
        raise ValueError(
            f'features of this teacher cannot be cached: its presence ({teacher.presence_kind}) is no '
            'softmax over the bank. Train with teacher.cache=None'
        )
    features = teacher.features_of(batch)
    return features.as_maps(teacher.logit_scale)


class CachedFeatures(CachedOutputs):
    """Cached features of a CNN teacher for unaugmented images, warped to each view.

    A view's embedding is the mean of the locations that the view shows; the image's own embedding is the
    mean of all its locations. Mixed images have mixed features at each location. Maps come from the same
    features, so that one pass over the images serves all supervision. See `CachedOutputs` for arguments and
    errors.
    """

    @staticmethod
    def identity(teacher: dict) -> dict:
        """Return the identity of a teacher in the manifest of its cache, from the teacher's config."""
        return feature_identity(teacher)

    def __init__(self, cache: str, teacher: dict) -> None:
        super().__init__(cache, teacher)
        # A record stores each channel of the features as a map.
        check_map_count(self.cache, self.text_embeddings.shape[1])

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions in which the maps of `ask` can be read: both."""
        return DIRECTIONS

    def maps_of_images(self, batch: BatchView) -> InteractionMaps:
        """Compute the maps of the whole bank: products of text embeddings with features."""
        _refuse_mosaics(batch.tiles or ())
        features = self.stored_outputs(batch)
        locations = features.logits[:, 0]  # [B, E, h, w]
        with torch.autocast(locations.device.type, enabled=False):
            logits = torch.einsum('ce,behw->bchw', self.text_embeddings, locations)
        return InteractionMaps(
            logits=logits[:, None],
            # The mean of a concept's map is the image's own logit.
            presence=logits.mean((-2, -1)).softmax(-1),
            valid=features.valid,
            layers=features.layers,
        )

    def features_in(self, batch: BatchView, grid: StudentGrid) -> ImageFeatures:
        """Return the features of the views on the student's grid.

        Raises:
            CacheError: if `stored_outputs` refuses the batch, a picture is a mosaic, or more than half of a
                location shows filler, which has no features. With ResizeMix, any filler is refused.
            ValueError: if images are padded.
        """
        batch.refuse_padding()
        maps, views = self.stored_outputs(batch), _views_of(batch)
        # Each image's mean feature has the same norm, the scale of the teacher's logits: mixing keeps it.
        logit_scale = maps.logits[:, 0].mean((-2, -1)).norm(dim=1)  # [B]
        windows = None
        if batch.tiles is not None:
            # A location in the box of ResizeMix may show filler of two images, so no filler is allowed.
            min_share = 1.0 if batch.mixture is not None and batch.mixture.resized else 0.5
            _refuse_filler(batch.tiles, grid.shape, min_share)
            # Each picture has one tile, and possibly a margin of filler.
            views = torch.cat([picture.views for picture in batch.tiles])
            windows = torch.cat([picture.windows for picture in batch.tiles])
        if batch.mixture is None:
            maps = maps.warp(views, grid.shape, windows)
        else:
            placement = place_images(batch, views, grid)
            maps = mean_maps(placement.warp(placement.take(maps)), placement.share)
        return ImageFeatures.of_view(maps, logit_scale, self.text_embeddings)


def _refuse_filler(tiles: Sequence[Tiles], grid: tuple[int, int], min_share: float) -> None:
    """Refuse mosaics, and pictures in which an image covers less than `min_share` of a location."""
    _refuse_mosaics(tiles)
    # Tiles are on the CPU, so that this does not synchronise the device.
    if (visible_shares(tiles, grid) < min_share - 1e-4).any():
        raise CacheError(
            'a picture shows filler, for which the cache has no features: remove the transforms of '
            'train_pipeline that pad, shift, shear, rotate or erase (RandomCrop with padding, RandAugment), '
            'or train with teacher.cache=None'
        )


def _refuse_mosaics(tiles: Sequence[Tiles]) -> None:
    if any(len(picture.shares) > 1 for picture in tiles):
        raise CacheError(
            'cached features do not support mosaics: remove lfi.RecordedMosaic and lfi.RecordedMixUp'
        )
