"""Measures of maps and of presence, added up image by image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from lfi.errors import UsageError
from lfi.evaluation import MEASURES, localization, presence_quality

from .images import Shown


class Tally:
    """Means of a map's measures over regions."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {measure: [] for measure in MEASURES}

    def add(self, maps: Tensor, masks: Tensor) -> None:
        """Add maps (N, H, W) and the masks (N, H, W) that they should point into."""
        for measure, values in localization(maps, masks).items():
            self.values[measure] += values.tolist()

    def summary(self) -> dict[str, list[float]]:
        """Mean and standard error of each measure."""
        return {
            measure: [float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)]
            for measure, values in self.values.items()
        }


class MapTally:
    """The measures of maps of each reading and layer, over regions of the area that is asked for."""

    def __init__(self, area: tuple[float, float]) -> None:
        self.area = area
        self.tallies: dict[str, dict[str, Tally]] = {}

    def add(self, image: Shown, maps: dict[str, Tensor], layers: Sequence[int]) -> None:
        """Add an image and the concepts' maps (L, M, H, W) of these layers, by each reading."""
        kept = image.of_area(self.area)
        if not kept:
            return
        masks = torch.stack(list(kept.values()))
        for reading, each in maps.items():
            of_layers = self.tallies.setdefault(reading, {})
            for index, layer in enumerate(layers):
                name = reading if len(layers) == 1 else f'layer {layer}, {reading}'
                of_layers.setdefault(name, Tally()).add(each[index, list(kept)], masks)

    def summary(self) -> dict[str, dict[str, list[float]]]:
        """The summary of each reading and layer, by its name.

        Raises:
            UsageError: no region is of the area.
        """
        if not self.tallies:
            low, high = self.area
            raise UsageError(f'no region of the images covers {low:g} to {high:g} of its image')
        return {name: tally.summary() for of in self.tallies.values() for name, tally in of.items()}

    def pointing(self) -> dict[str, np.ndarray]:
        """The pointing game of each region, mean over layers, by each reading."""
        return {
            reading: np.mean([tally.values['pointing'] for tally in layers.values()], 0)
            for reading, layers in self.tallies.items()
        }


class NamingTally:
    """Whether the concept of most presence is in its image, and is its label among the first classes."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.in_image: list[bool] = []
        self.is_label: list[bool] = []
        self.confidences: list[float] = []

    def add(self, image: Shown, presence: Tensor) -> None:
        """Add an image and the presence (M,) of all concepts."""
        confidence, best = presence.max(0)
        self.confidences.append(float(confidence))
        if image.regions and int(best) not in image.crowds:
            self.in_image.append(int(best) in image.regions)
        if image.label is not None:
            self.is_label.append(int(presence[: self.classes].argmax()) == image.label)

    def summary(self) -> dict[str, float | None]:
        """Shares, None of images without regions or labels; mean confidence; how many have a label."""
        return {
            'top1': float(np.mean(self.in_image)) if self.in_image else None,
            'label_top1': float(np.mean(self.is_label)) if self.is_label else None,
            'labelled': len(self.is_label),
            'confidence': float(np.mean(self.confidences)),
        }


class PresenceTally:
    """Presence of each concept of the bank in each annotated image, by each way to tell it.

    A concept whose regions are all of another area than is asked for, or that crowds alone show, is left out
    of its image.
    """

    def __init__(self, concepts: int, area: tuple[float, float]) -> None:
        self.concepts, self.area = concepts, area
        self.visible: list[Tensor] = []
        self.counted: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.presence: dict[str, list[Tensor]] = {}

    def add(self, image: Shown, presence: dict[str, Tensor]) -> None:
        """Add an image, and its presence (C,) by each way."""
        if not image.regions:
            return
        kept = image.of_area(self.area)
        self.visible.append(self._mark(kept))
        # A crowd may be of a class that is none of the concepts.
        crowds = {concept for concept in image.crowds if 0 <= concept < self.concepts}
        self.counted.append(~self._mark((image.regions.keys() - kept.keys()) | crowds))
        self.labels.append(self._mark([] if image.label is None else [image.label]))
        for way, values in presence.items():
            self.presence.setdefault(way, []).append(values)

    def summary(self) -> dict[str, dict[str, float | None]]:
        """The quality of each way alone, of the label alone, and of each way with the label."""
        visible, counted, labels = (torch.stack(x) for x in (self.visible, self.counted, self.labels))
        ways = {way: torch.stack(values) for way, values in self.presence.items()}
        if labels.any():
            raised = {
                f'label or {way}': torch.maximum(values, labels.float()) for way, values in ways.items()
            }
            ways = {**ways, 'label': labels.float(), **raised}
        often = (visible & counted).sum(0) / counted.sum(0).clamp_min(1)
        ways['chance: how often'] = often.expand(visible.shape)
        return {way: presence_quality(values[counted], visible[counted]) for way, values in ways.items()}

    def errors(self, way: str) -> np.ndarray:
        """The Brier score of each image."""
        counted, visible = torch.stack(self.counted), torch.stack(self.visible)
        squares = (torch.stack(self.presence[way]) - visible.float()).square() * counted
        return (squares.sum(1) / counted.sum(1).clamp_min(1)).numpy()

    def _mark(self, concepts: Iterable[int]) -> Tensor:
        marks = torch.zeros(self.concepts, dtype=torch.bool)
        found = list(concepts)
        if found and max(found) >= self.concepts:
            raise UsageError(
                f'the images have the class {max(found)}, and teacher.concepts are {self.concepts}: they '
                'must begin with the classes of val_dataloader.dataset'
            )
        marks[found] = True
        return marks
