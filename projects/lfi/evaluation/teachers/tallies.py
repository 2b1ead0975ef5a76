"""Accumulators of measures of maps and presence over images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from lfi.errors import UsageError
from lfi.evaluation import MEASURES, localization, presence_quality

from .images import ImageSample


class Tally:
    """Accumulator of the `MEASURES` of maps over regions."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {measure: [] for measure in MEASURES}

    def add(self, maps: Tensor, masks: Tensor) -> None:
        """Add maps (N, H, W) and the masks (N, H, W) of their concepts."""
        for measure, values in localization(maps, masks).items():
            self.values[measure] += values.tolist()

    def summary(self) -> dict[str, list[float]]:
        """Return the mean and the standard error of each measure."""
        return {
            measure: [float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)]
            for measure, values in self.values.items()
        }


class MapTally:
    """Accumulator of the measures of maps by reading and layer, over regions within `area`."""

    def __init__(self, area: tuple[float, float]) -> None:
        self.area = area
        self.tallies: dict[str, dict[str, Tally]] = {}

    def add(self, image: ImageSample, maps: dict[str, Tensor], layers: Sequence[int]) -> None:
        """Add an image and its maps (L, M, H, W) in each reading; `layers` are the L layer indices."""
        regions = image.regions_of_area(self.area)
        if not regions:
            return
        masks = torch.stack(list(regions.values()))
        for reading, heat in maps.items():
            tallies = self.tallies.setdefault(reading, {})
            for index, layer in enumerate(layers):
                name = reading if len(layers) == 1 else f'layer {layer}, {reading}'
                tallies.setdefault(name, Tally()).add(heat[index, list(regions)], masks)

    def summary(self) -> dict[str, dict[str, list[float]]]:
        """Return the summary of each reading and layer by name.

        Raises:
            UsageError: if no region lies within `area`.
        """
        if not self.tallies:
            low, high = self.area
            raise UsageError(f'no region of the images covers {low:g} to {high:g} of its image')
        return {name: tally.summary() for tallies in self.tallies.values() for name, tally in tallies.items()}

    def pointing(self) -> dict[str, np.ndarray]:
        """Return the pointing game of each region, mean over layers, by reading."""
        return {
            reading: np.mean([tally.values['pointing'] for tally in layers.values()], 0)
            for reading, layers in self.tallies.items()
        }


class AccuracyTally:
    """Accumulator of zero-shot accuracy: the concept of the highest presence against regions and labels."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.in_image: list[bool] = []
        self.is_label: list[bool] = []
        self.confidences: list[float] = []

    def add(self, image: ImageSample, presence: Tensor) -> None:
        """Add an image and the presence (M,) of all concepts."""
        confidence, best = presence.max(0)
        self.confidences.append(float(confidence))
        if image.regions and int(best) not in image.crowds:
            self.in_image.append(int(best) in image.regions)
        if image.label is not None:
            self.is_label.append(int(presence[: self.num_classes].argmax()) == image.label)

    def summary(self) -> dict[str, float | None]:
        """Return accuracies (None without regions or labels), mean confidence and the number of labels."""
        return {
            'top1': float(np.mean(self.in_image)) if self.in_image else None,
            'label_top1': float(np.mean(self.is_label)) if self.is_label else None,
            'labelled': len(self.is_label),
            'confidence': float(np.mean(self.confidences)),
        }


class PresenceTally:
    """Accumulator of the presence of all concepts of the bank over annotated images, by reading.

    A concept does not count in an image where all of its regions lie outside `area`, or only crowds show it.
    """

    def __init__(self, num_concepts: int, area: tuple[float, float]) -> None:
        self.num_concepts, self.area = num_concepts, area
        self.visible: list[Tensor] = []
        self.counted: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.presence: dict[str, list[Tensor]] = {}

    def add(self, image: ImageSample, presence: dict[str, Tensor]) -> None:
        """Add an image and its presence (C,) in each reading."""
        if not image.regions:
            return
        regions = image.regions_of_area(self.area)
        self.visible.append(self._multi_hot(regions))
        # The class of a crowd may be none of the concepts.
        crowds = {concept for concept in image.crowds if 0 <= concept < self.num_concepts}
        self.counted.append(~self._multi_hot((image.regions.keys() - regions.keys()) | crowds))
        self.labels.append(self._multi_hot([] if image.label is None else [image.label]))
        for reading, values in presence.items():
            self.presence.setdefault(reading, []).append(values)

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Return the quality of each reading, of the labels, and of each reading raised by the labels."""
        visible, counted, labels = (torch.stack(x) for x in (self.visible, self.counted, self.labels))
        columns = {name: torch.stack(values) for name, values in self.presence.items()}
        if labels.any():
            raised = {
                f'label or {name}': torch.maximum(values, labels.float()) for name, values in columns.items()
            }
            columns = {**columns, 'label': labels.float(), **raised}
        frequency = (visible & counted).sum(0) / counted.sum(0).clamp_min(1)
        columns['chance: how often'] = frequency.expand(visible.shape)
        return {name: presence_quality(values[counted], visible[counted]) for name, values in columns.items()}

    def errors(self, reading: str) -> np.ndarray:
        """Return the Brier score of each image."""
        counted, visible = torch.stack(self.counted), torch.stack(self.visible)
        squares = (torch.stack(self.presence[reading]) - visible.float()).square() * counted
        return (squares.sum(1) / counted.sum(1).clamp_min(1)).numpy()

    def _multi_hot(self, concepts: Iterable[int]) -> Tensor:
        vector = torch.zeros(self.num_concepts, dtype=torch.bool)
        indices = list(concepts)
        if indices and max(indices) >= self.num_concepts:
            raise UsageError(
                f'the images have the class {max(indices)}, and teacher.concepts are {self.num_concepts}: '
                'let teacher.concepts begin with the classes of val_dataloader.dataset'
            )
        vector[indices] = True
        return vector
