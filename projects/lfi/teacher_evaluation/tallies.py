"""Measures of maps and of presence, added up image by image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

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


class PresenceTally:
    """Presence of each concept of the bank in each annotated image, by each way to tell it.

    A concept whose regions are all of another area than is asked for is left out of its image.
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
        self.counted.append(~self._mark(image.regions.keys() - kept.keys()))
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
        ways['chance: how often'] = visible.float().mean(0).expand(visible.shape)
        return {way: presence_quality(values[counted], visible[counted]) for way, values in ways.items()}

    def errors(self, way: str) -> np.ndarray:
        """The Brier score of each image."""
        counted, visible = torch.stack(self.counted), torch.stack(self.visible)
        squares = (torch.stack(self.presence[way]) - visible.float()).square() * counted
        return (squares.sum(1) / counted.sum(1).clamp_min(1)).numpy()

    def _mark(self, concepts: Iterable[int]) -> Tensor:
        marks = torch.zeros(self.concepts, dtype=torch.bool)
        marks[list(concepts)] = True
        return marks
