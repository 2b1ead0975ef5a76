"""Negative controls: the same training, with what is image-specific in the teacher's targets destroyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lfi.models.losses.means import RunningMean
from lfi.models.supervision import SupervisionPart
from lfi.registry import MODELS
from lfi.structures import BatchView, ImageFeatures, InteractionMaps, Targets


class Control(nn.Module):
    """Base class of negative controls. They act in training only.

    A control may change the teacher's targets, and what a part has read of them. Parts without a teacher
    learn as ever.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether it changes something that a part reads of the teacher."""
        raise NotImplementedError

    def set_up(self, parts: Mapping[str, SupervisionPart]) -> None:
        """Make what the control remembers, for the parts that learn from the teacher, by their names."""

    def change_targets(self, targets: Targets, view: BatchView) -> Targets:
        """What the parts read in place of the teacher's targets of a batch."""
        return targets

    def change_target(self, name: str, part: SupervisionPart, target: Any, num_texts: int) -> Any:
        """What a part learns towards in place of what it has read.

        Args:
            name: of the part.
            part: the part.
            target: as its `target_of` gives it.
            num_texts: of the teacher's bank.
        """
        return target


@MODELS.register_module()
class OtherImage(Control):
    """Each image learns from what the teacher says of another image of the batch.

    A gain that is left cannot come from what is image-specific. Labels stay with their images, and raise the
    presence of their concepts where the other image was asked about them too. Where images are mixed
    (Mixup, CutMix), the other one may show a part of this image.

    Raises:
        ValueError: in a step of one image alone, or where a file follows itself in the batch: the control
            would be the method.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part learns what the teacher says of each image."""
        return part.differs_by_image

    def change_targets(self, targets: Targets, view: BatchView) -> Targets:
        """Each image takes the targets of the one before it in the batch.

        A location is valid where it is so in both images: the student reads no padding of its own image.
        """
        _refuse_same(view.data_samples)
        maps, features, scores = targets.maps, targets.features, targets.class_scores
        if maps is not None:
            maps = maps_of_another_image(maps)
        if features is not None:
            features = ImageFeatures(
                _another(features.pooled), _another(features.scores), _another(features.locations)
            )
        scores = None if scores is None else _another(scores)
        return replace(targets, maps=maps, features=features, class_scores=scores)


def _refuse_same(data_samples: Sequence) -> None:
    """Raise a ValueError if an image would take the targets of its own file."""
    paths = [getattr(sample, 'img_path', None) for sample in data_samples]
    if len(paths) > 1 and any(path is not None and path == paths[row - 1] for row, path in enumerate(paths)):
        raise ValueError(
            'control=OtherImage: an image follows itself in the batch, as RepeatAugSampler draws it, '
            'and would take its own targets: set train_dataloader.sampler to one that repeats no image'
        )


def maps_of_another_image(maps: InteractionMaps) -> InteractionMaps:
    """Each image takes the maps, concepts and presence of the one before it in the batch.

    Raises:
        ValueError: if there is one image alone.
    """
    return replace(
        maps,
        logits=_another(maps.logits),
        presence=_another(maps.presence),
        valid=maps.valid & _another(maps.valid),
        concepts=None if maps.concepts is None else _another(maps.concepts),
    )


def _another(values: Tensor) -> Tensor:
    """Values (B, ...), each row of which is the one before it."""
    if len(values) < 2:
        raise ValueError(
            'a batch of one image has no other image to take from: set train_dataloader.batch_size to 2 or '
            'more, and train_dataloader.drop_last=True, since the last batch of an epoch may be smaller'
        )
    return values.roll(1, 0)


@MODELS.register_module()
class ShuffledLocations(Control):
    """Each image learns from its own targets, whose locations are shuffled: what it shows, and not where.

    The valid locations of an image are shuffled, all concepts, channels and layers alike, anew in every step.
    Presence, embeddings and class scores have no location, and stay.

    Raises:
        ValueError: in a step on a grid of one location, for which the control would be the method.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part's targets differ from location to location."""
        return part.compares_locations

    def change_targets(self, targets: Targets, view: BatchView) -> Targets:
        """Each image's locations in an order of their own; embeddings and class scores stay."""
        maps, features = targets.maps, targets.features
        if maps is not None:
            maps = replace(maps, logits=_shuffled(maps.logits, maps.valid))
        if features is not None:
            locations = features.locations
            valid = torch.ones_like(locations[:, 0], dtype=torch.bool)
            features = replace(features, locations=_shuffled(locations, valid))
        return replace(targets, maps=maps, features=features)


def _shuffled(values: Tensor, valid: Tensor) -> Tensor:
    """Values (B, ..., H, W) whose valid locations (B, H, W) are in another order for each image."""
    b, n = len(values), valid[0].numel()
    if n < 2:
        raise ValueError(
            'control=ShuffledLocations: the student has a grid of one location, and nothing to shuffle: take '
            'larger images, or read a finer map (reads of the adapter)'
        )
    padding = (~valid).flatten(1).float()
    # Sorting draws valid locations first, in any order; scattering puts these back where locations are valid.
    drawn = (torch.rand(b, n, device=values.device) + padding).argsort(1)
    order = torch.empty_like(drawn).scatter_(1, padding.argsort(dim=1, stable=True), drawn)
    flat = values.flatten(-2)
    wide = order.view(b, *[1] * (flat.ndim - 2), n).expand_as(flat)
    return flat.gather(-1, wide).view_as(values)


@MODELS.register_module()
class MeanTarget(Control):
    """Each image learns from the mean of the targets of all images so far, this batch's included.

    The part says what its mean is (`SupervisionPart.with_means`), by its own temperatures. Of interactions
    the maps are averaged, and presence, the concepts asked about and labels stay with their images: what
    then helps is that, and no location. Checkpoints keep the means. All images must have one size.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part has a mean over images."""
        return bool(part.averages)

    def set_up(self, parts: Mapping[str, SupervisionPart]) -> None:
        """Make the means of each part."""
        self.means = nn.ModuleDict(
            {
                name: nn.ModuleDict({average: RunningMean() for average in part.averages})
                for name, part in parts.items()
            }
        )

    def change_target(self, name: str, part: SupervisionPart, target: Any, num_texts: int) -> Any:
        """The part's mean target."""
        means: Any = self.means[name]
        return part.with_means(target, means, num_texts)
