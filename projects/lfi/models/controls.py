"""Negative controls: training on targets without the teacher's knowledge of the image."""

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
    """Base class of negative controls, which act in training only.

    A control may change the teacher's targets, or the target that a part makes from them. It does not change
    parts that need no teacher.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the control changes the target of a part."""
        raise NotImplementedError

    def set_up(self, parts: Mapping[str, SupervisionPart]) -> None:
        """Create the control's state for the parts (by name) that need the teacher."""

    def change_teacher_targets(self, targets: Targets, batch: BatchView) -> Targets:
        """Change the teacher's targets of a batch."""
        return targets

    def change_part_target(self, name: str, part: SupervisionPart, target: Any, num_texts: int) -> Any:
        """Change the target of one part.

        Args:
            name: name of the part.
            part: supervision part.
            target: result of the part's `target_of`.
            num_texts: number of texts in the teacher's bank.
        """
        return target


@MODELS.register_module()
class OtherImage(Control):
    """Give each image the teacher's targets of another image of the batch.

    If a gain remains, it does not come from the teacher's knowledge of the image. Labels stay with their own
    image: they raise the presence of a labelled concept if the other image has a map of this concept. With
    Mixup or CutMix the other image may show a part of the first image. A mosaic counts as its first file, so
    the other one may share its further files, and images of a repeated file may take the same targets.

    Raises:
        ValueError: in a step with one image, or whose images all show the same file.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part's target depends on the image."""
        return part.target_needs_teacher

    def change_teacher_targets(self, targets: Targets, batch: BatchView) -> Targets:
        """Give each image the targets of the nearest image before it that shows another file.

        A location is valid if it is valid in both images.
        """
        rows = other_image_rows(batch)
        maps, features, scores = targets.maps, targets.features, targets.class_scores
        if maps is not None:
            other = maps.take(rows)
            maps = replace(other, valid=maps.valid & other.valid)
        if features is not None:
            fields = (features.pooled, features.scores, features.locations)
            features = ImageFeatures(*(field[rows] for field in fields))
        scores = None if scores is None else scores[rows]
        return replace(targets, maps=maps, features=features, class_scores=scores)


def other_image_rows(batch: BatchView) -> Tensor:
    """Return for each image the row of the nearest image before it that shows another file, (B,).

    The last image of the batch comes before the first.

    Raises:
        ValueError: if all images show the same file.
    """
    samples = batch.data_samples
    files: list[Any] = [_file_of(sample) for sample in samples]
    # Images without a path or a number count as different files.
    files = [row if file is None else file for row, file in enumerate(files or [None] * len(batch.inputs))]
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
    return index.to(batch.inputs.device, non_blocking=True)


def _file_of(sample: Any) -> Any:
    """Return the real path of a sample's file, or the sample's number if it has no path."""
    path = sample.get('img_path')
    return sample.get('sample_idx', sample.get('img_id')) if path is None else resolved_path(path)


@MODELS.register_module()
class ShuffledLocations(Control):
    """Shuffle the valid locations of each image's targets, to keep what the image shows but not where.

    Each step draws a new permutation per image for the maps, the same for all concepts and layers, and
    another one for the features, the same for all channels. Presence, embeddings and class scores have no
    location and do not change. Images with one valid location do not change either.

    Raises:
        ValueError: in a step on a grid of one location.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part's target differs from location to location."""
        return part.target_varies_by_location

    def change_teacher_targets(self, targets: Targets, batch: BatchView) -> Targets:
        """Shuffle the locations of maps and features."""
        maps, features = targets.maps, targets.features
        if maps is not None:
            maps = replace(maps, logits=_shuffle_locations(maps.logits, maps.valid))
        if features is not None:
            locations = features.locations
            valid = torch.ones_like(locations[:, 0], dtype=torch.bool)
            features = replace(features, locations=_shuffle_locations(locations, valid))
        return replace(targets, maps=maps, features=features)


def _shuffle_locations(values: Tensor, valid: Tensor) -> Tensor:
    """Permute the valid locations (B, H, W) of values (B, ..., H, W), each image in its own order."""
    b, n = len(values), valid[0].numel()
    if n < 2:
        raise ValueError(
            'control=ShuffledLocations: the student has a grid of one location, and nothing to shuffle: take '
            'larger images, or read a finer map (reads of the adapter)'
        )
    padding = (~valid).flatten(1).float()
    # Sorting puts valid locations first, in random order; scattering returns them to valid locations.
    random_order = (torch.rand(b, n, device=values.device) + padding).argsort(1)
    order = torch.empty_like(random_order).scatter_(1, padding.argsort(dim=1, stable=True), random_order)
    flat = values.flatten(-2)
    index = order.view(b, *[1] * (flat.ndim - 2), n).expand_as(flat)
    return flat.gather(-1, index).view_as(values)


@MODELS.register_module()
class MeanTarget(Control):
    """Give each image the mean target of all images so far, this batch included.

    `SupervisionPart.with_means` computes the mean target of a part, with the part's temperatures. For
    `lfi.Interactions` only the maps are averaged: presence, asked concepts and labels stay with their images.
    If only one image has a map of a concept, this map is the mean. Checkpoints store the means and their
    grid. All images must have the same size, without padding: a mean would mix images and padding.
    """

    def changes(self, part: SupervisionPart) -> bool:
        """Whether the part has a mean target."""
        return bool(part.mean_names)

    def set_up(self, parts: Mapping[str, SupervisionPart]) -> None:
        """Create the running means of each part."""
        self._grid: tuple[int, int] | None = None
        self._last_grid: tuple[int, int] | None = None
        self.means = nn.ModuleDict(
            {
                name: nn.ModuleDict({average: RunningMean() for average in part.mean_names})
                for name, part in parts.items()
            }
        )

    def change_teacher_targets(self, targets: Targets, batch: BatchView) -> Targets:
        """Store the grid of the targets, and return the targets unchanged."""
        self._last_grid = targets.grid
        return targets

    def change_part_target(self, name: str, part: SupervisionPart, target: Any, num_texts: int) -> Any:
        """Replace the part's target by its mean.

        Raises:
            ValueError: if the part compares locations and earlier batches had another grid.
        """
        if part.target_varies_by_location:
            self._grid = self._grid or self._last_grid
            if self._grid != self._last_grid:
                raise ValueError(
                    f'control=MeanTarget: a mean over the grid {self._grid} got a batch on the grid '
                    f'{self._last_grid}: crop or resize all images to one size in train_pipeline'
                )
        means: Any = self.means[name]
        return part.with_means(target, means, num_texts)

    def reset_statistics(self) -> None:
        """Remove the grid; each running mean removes its batches."""
        self._grid = None

    # As in `RunningMean`, the grid is no buffer, and there is none before the first batch.
    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self._grid is not None:
            destination[f'{prefix}grid'] = torch.tensor(self._grid)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        if (stored := state_dict.get(f'{prefix}grid')) is not None:
            height, width = stored.tolist()
            self._grid = height, width
