"""Interaction maps: the structure that teacher, cache, student, loss, metric and picture exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .views import (
    full_window,
    interpolation_weights,
    is_axis_aligned,
    max_coverage,
    separable_interpolation_weights,
)

DIRECTIONS = ('spatial', 'semantic')
# Index in `InteractionMaps.concepts` that marks the joint map of all other concepts of the bank.
# In a teacher's scores this map is the log-sum-exp over all texts that the image is not asked about.
OTHER = -1
# Score of an invalid location: its probability is exactly 0, and gradients stay finite.
MASKED = -1e9


@dataclass(frozen=True)
class InteractionMaps:
    """Scores of every (concept, location) pair of a batch of images, at one or more layers.

    Scores can be read in two directions. 'spatial' is text->image, over the locations: where is this concept?
    'semantic' is image->text, over the concepts: which concept is at this location?

    Args:
        logits: (B, L, M, H, W), raw scores, float32.
        presence: (B, M) in [0, 1], whether image b shows concept m. In a teacher's maps it is also the
            weight of the concept in the spatial loss.
        valid: (B, H, W) bool, locations that show the image, and neither padding nor filler.
        concepts: (B, M) indices into the concept bank, `OTHER` for the map of all other concepts. Defaults
            to None: map m is concept m of the bank.
        layers: indices of the L layers in the model. Defaults to (-1,).
        directions: directions in which the scores can be read, a subset of `DIRECTIONS`. Scores that are
            normalised over locations have `('spatial',)` only. Defaults to both.
        spatial_logits: (B, L, M, H, W), float32, scores of the spatial direction: a student's attention, or a
            teacher's log-probability among all concepts (`concept_softmax`). Defaults to None: `logits`.

    Raises:
        ValueError: if a shape, a dtype or a direction is wrong; the message names the field.
    """

    logits: Tensor
    presence: Tensor
    valid: Tensor
    concepts: Tensor | None = None
    layers: tuple[int, ...] = (-1,)
    directions: tuple[str, ...] = DIRECTIONS
    spatial_logits: Tensor | None = None

    def __post_init__(self) -> None:
        if self.logits.ndim != 5:
            raise ValueError(f'logits must be (B, L, M, H, W), got shape {tuple(self.logits.shape)}')
        if self.logits.dtype != torch.float32:
            raise ValueError(f'logits must be float32, got {self.logits.dtype}')
        b, n_layers, m, h, w = self.logits.shape
        if self.presence.shape != (b, m):
            raise ValueError(f'presence must be (B, M) = {(b, m)}, got shape {tuple(self.presence.shape)}')
        if self.valid.shape != (b, h, w):
            raise ValueError(f'valid must be (B, H, W) = {(b, h, w)}, got shape {tuple(self.valid.shape)}')
        if self.valid.dtype != torch.bool:
            raise ValueError(f'valid must be bool, got {self.valid.dtype}')
        if self.concepts is not None and self.concepts.shape != (b, m):
            raise ValueError(f'concepts must be (B, M) = {(b, m)}, got shape {tuple(self.concepts.shape)}')
        if self.spatial_logits is not None and self.spatial_logits.shape != self.logits.shape:
            raise ValueError(
                f'spatial_logits must be (B, L, M, H, W) = {tuple(self.logits.shape)}, '
                f'got shape {tuple(self.spatial_logits.shape)}'
            )
        if len(self.layers) != n_layers:
            raise ValueError(f'layers must name the L = {n_layers} layers of logits, got {self.layers}')
        if not self.directions or not set(self.directions) <= set(DIRECTIONS):
            raise ValueError(f'directions must be a non-empty part of {DIRECTIONS}, got {self.directions}')

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the grid in locations."""
        return self.logits.shape[-2], self.logits.shape[-1]

    def check(self) -> InteractionMaps:
        """Check the values and return self. The check waits for the GPU, so it is not for every step.

        Raises:
            ValueError: if logits or presence are not finite, presence is outside [0, 1], or a concept index
                is below `OTHER`. The message names the field and the images' indices in the batch.
        """
        bounded = (self.presence >= 0) & (self.presence <= 1)
        for fault, passed in (
            ('logits hold a non-finite value', self.logits.isfinite().flatten(1).all(1)),
            ('presence is not finite or outside [0, 1]', bounded.all(1)),
        ):
            if not passed.all():
                images = (~passed).nonzero().flatten().tolist()
                raise ValueError(f'{fault} for the images {images} of the batch')
        if self.concepts is not None and (self.concepts < OTHER).any():
            raise ValueError(f'concepts must be indices into the bank or {OTHER}')
        return self

    def spatial_log_probs(self, temperature: float | Tensor = 1.0) -> Tensor:
        """Log-probabilities over the valid locations, (B, L, M, H, W); `MASKED` or less elsewhere.

        Args:
            temperature: divisor of the logits; a tensor must broadcast against (B, L, M, H, W). Defaults
                to 1.

        Raises:
            ValueError: if 'spatial' is not among the directions.
        """
        self._require('spatial')
        scores = (self.logits if self.spatial_logits is None else self.spatial_logits) / temperature
        scores = scores.masked_fill(~self.valid[:, None, None], MASKED)
        return scores.flatten(-2).log_softmax(-1).view_as(scores)

    def semantic_log_probs(self, temperature: float | Tensor = 1.0) -> Tensor:
        """Log-probabilities over the M concepts at each location, (B, L, M, H, W).

        Args:
            temperature: divisor of the logits; a tensor must broadcast against (B, L, M, H, W). Defaults
                to 1.

        Raises:
            ValueError: if 'semantic' is not among the directions.
        """
        self._require('semantic')
        return (self.logits / temperature).log_softmax(2)

    def concept_softmax(self) -> InteractionMaps:
        """Set `spatial_logits` to each concept's log-probability among all concepts at a location.

        With a background among the concepts, a map then marks its concept alone. Raw scores are high
        wherever an image is salient.

        Raises:
            ValueError: if 'semantic' is not among the directions.
        """
        return replace(self, spatial_logits=self.semantic_log_probs())

    def resize(self, grid: tuple[int, int]) -> InteractionMaps:
        """Resize the maps to a grid (H, W); `spatial_logits` are dropped where the grid changes."""
        if grid == self.grid:
            return self
        return self.warp(torch.eye(2, 3)[None], grid)

    def warp(self, view: Tensor, grid: tuple[int, int], window: Tensor | None = None) -> InteractionMaps:
        """Warp the maps into a view of their images, at any scale; `spatial_logits` are dropped.

        Args:
            view: (B, 2, 3), affine maps from the view's coordinates to the image's, as for
                `torch.nn.functional.affine_grid`: from -1 to 1 over the complete picture. (1, 2, 3) is one
                view for all images.
            grid: (H, W) of the result.
            window: (B, 2, 2), the part of the grid's canvas that the view fills, from `image_windows`.
                Defaults to None: all of it.

        Returns:
            Maps on the grid. A location is valid if at least half of it shows the valid area. If the window
            is smaller than a location, the threshold is half of the share that the window can fill.
        """
        with torch.autocast(self.logits.device.type, enabled=False):
            upright = is_axis_aligned(view)
            view = view.to(self.logits, non_blocking=True)
            window = full_window(view) if window is None else window.to(view)
            valid = self.valid[:, None].float()
            stacked = torch.cat(
                ((self.logits * valid[:, None]).flatten(1, 2), valid), 1
            )  # [B, L*M + 1, H, W]
            if upright:
                rows, columns, share = separable_interpolation_weights(view, self.grid, grid, window)
                stacked = rows[:, None] @ stacked @ columns.mT[:, None]  # [B, L*M + 1, h, w]
            else:
                weights, share = interpolation_weights(view, self.grid, grid, window)
                stacked = (stacked.flatten(2) @ weights.flatten(3).flatten(1, 2).mT).unflatten(-1, grid)
            logits, valid_share = stacked[:, :-1], stacked[:, -1:]
            logits = logits / valid_share.clamp_min(1e-6)
        return replace(
            self,
            logits=logits.unflatten(1, self.logits.shape[1:3]),
            valid=valid_locations(valid_share[:, 0] * share / max_coverage(grid, window)),
            spatial_logits=None,
        )

    def with_labels(self, labels: Tensor) -> InteractionMaps:
        """Raise the presence of each concept to its label; labels are (B, C) in [0, 1]."""
        if self.concepts is not None:
            labels = labels.gather(1, self.concepts.clamp_min(0)).masked_fill(self.concepts == OTHER, 0)
        return replace(self, presence=torch.maximum(self.presence, labels.to(self.presence)))

    def take(self, rows: Tensor) -> InteractionMaps:
        """Select images by their rows (b,) in the batch."""
        return replace(
            self,
            logits=self.logits[rows],
            presence=self.presence[rows],
            valid=self.valid[rows],
            concepts=None if self.concepts is None else self.concepts[rows],
            spatial_logits=None if self.spatial_logits is None else self.spatial_logits[rows],
        )

    def gather(self, index: Tensor) -> InteractionMaps:
        """Select maps of each image by their index (B, m) in [0, M)."""
        b, n_layers, _, h, w = self.logits.shape
        concepts = index if self.concepts is None else self.concepts.gather(1, index)
        expanded = index[:, None, :, None, None].expand(b, n_layers, -1, h, w)
        return replace(
            self,
            logits=self.logits.gather(2, expanded),
            presence=self.presence.gather(1, index),
            concepts=concepts,
            spatial_logits=None if self.spatial_logits is None else self.spatial_logits.gather(2, expanded),
        )

    def select_layers(self, positions: Sequence[int]) -> InteractionMaps:
        """Select layers by their positions in `self.layers`, not by their indices in the model."""
        index = list(positions)
        return replace(
            self,
            logits=self.logits[:, index],
            layers=tuple(self.layers[i] for i in index),
            spatial_logits=None if self.spatial_logits is None else self.spatial_logits[:, index],
        )

    def to(self, device: torch.device | str) -> InteractionMaps:
        """Move all tensors to a device, without blocking on the way to a GPU."""
        # The CPU would read a non-blocking copy before it is complete.
        move = partial(Tensor.to, device=device, non_blocking=torch.device(device).type != 'cpu')
        return replace(
            self,
            logits=move(self.logits),
            presence=move(self.presence),
            valid=move(self.valid),
            concepts=None if self.concepts is None else move(self.concepts),
            spatial_logits=None if self.spatial_logits is None else move(self.spatial_logits),
        )

    def _require(self, direction: str) -> None:
        if direction not in self.directions:
            raise ValueError(f'these maps have the directions {self.directions}, without {direction!r}')


def valid_locations(share: Tensor) -> Tensor:
    """Return the mask (B, H, W) of the locations whose visible share, (B, H, W), is at least a half."""
    return share >= 0.5 - 1e-4
