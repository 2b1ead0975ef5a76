"""Negative controls: the same training, with what is image-specific in the teacher's targets destroyed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lfi.models.losses.means import RunningMean
from lfi.models.supervision import SupervisionPart
from lfi.registry import MODELS
from lfi.structures import BatchView, ImageFeatures, Targets
from lfi.utils.folders import resolved_path


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
        ValueError: in a step whose images are one alone, or all of one file: the control would be the method.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part learns what the teacher says of each image."""
        return part.differs_by_image

    def change_targets(self, targets: Targets, view: BatchView) -> Targets:
        """Each image takes the targets of the nearest one before it in the batch that shows another file.

        A location is valid where it is so in both images: the student reads no padding of its own image.
        """
        rows = other_rows(view)
        maps, features, scores = targets.maps, targets.features, targets.class_scores
        if maps is not None:
            other = maps.take(rows)
            maps = replace(other, valid=maps.valid & other.valid)
        if features is not None:
            of_others = (each[rows] for each in (features.pooled, features.scores, features.locations))
            features = ImageFeatures(*of_others)
        scores = None if scores is None else scores[rows]
        return replace(targets, maps=maps, features=features, class_scores=scores)


def other_rows(view: BatchView) -> Tensor:
    """For each image of a batch the row of another one, (B,): the nearest before it that shows another file.

    Raises:
        ValueError: if an image has no other in the batch.
    """
    samples = view.data_samples
    files: list[Any] = [_file_of(sample) for sample in samples]
    # Where nothing says which file an image shows, each is one of its own.
    files = [row if file is None else file for row, file in enumerate(files or [None] * len(view.inputs))]
    rows = [
        next((row - step for step in range(1, len(files)) if files[row - step] != file), None)
        for row, file in enumerate(files)
    ]
    if None in rows or not rows:
        raise ValueError(
            'control=OtherImage: an image of the batch has no other image to take from: set '
            'train_dataloader.batch_size to 2 or more, and train_dataloader.drop_last=True, since the last '
            'batch of an epoch may be smaller; and let the sampler draw several files'
        )
    index = torch.tensor(rows) % len(files)
    return index.to(view.inputs.device, non_blocking=True)


def _file_of(sample: Any) -> Any:
    """The file that a sample shows, however its path is spelt; its number where no file is named."""
    path = sample.get('img_path')
    return sample.get('sample_idx', sample.get('img_id')) if path is None else resolved_path(path)


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
    then helps is that, and no location. A concept that one image alone has keeps that image's map.
    Checkpoints keep the means. All images must have one size.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part has a mean over images."""
        return bool(part.averages)

    def set_up(self, parts: Mapping[str, SupervisionPart]) -> None:
        """Make the means of each part."""
        self._grid: tuple[int, int] | None = None
        self._last_grid: tuple[int, int] | None = None
        self.means = nn.ModuleDict(
            {
                name: nn.ModuleDict({average: RunningMean() for average in part.averages})
                for name, part in parts.items()
            }
        )

    def change_targets(self, targets: Targets, view: BatchView) -> Targets:
        """The targets as they are; their grid is remembered."""
        self._last_grid = targets.grid
        return targets

    def change_target(self, name: str, part: SupervisionPart, target: Any, num_texts: int) -> Any:
        """The part's mean target.

        Raises:
            ValueError: if the part compares locations, and earlier batches had another grid.
        """
        if part.compares_locations:
            self._grid = self._grid or self._last_grid
            if self._grid != self._last_grid:
                raise ValueError(
                    f'control=MeanTarget: a mean over the grid {self._grid} got a batch on the grid '
                    f'{self._last_grid}: crop or resize all images to one size in train_pipeline'
                )
        means: Any = self.means[name]
        return part.with_means(target, means, num_texts)
