"""The one structure that teacher, cache, student, loss, metric and picture exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .views import full_window, is_upright, most_filled, read_upright_view, read_view

DIRECTIONS = ('spatial', 'semantic')
# In `InteractionMaps.concepts`: the map of all of the bank's other concepts together.
OTHER = -1
# Score of an invalid location: its probability is exactly 0, and gradients stay finite.
MASKED = -1e9


@dataclass(frozen=True)
class InteractionMaps:
    """Scores of every (concept, location) pair of a batch of images, at one or more layers.

    They are read in two directions: text->image, over locations (where is this concept?), and
    image->text, over concepts (which concept is at this location?). The directions are called
    'spatial' and 'semantic', as in configs and logs.

    Args:
        logits: (B, L, M, H, W), raw scores, float32.
        presence: (B, M) in [0, 1], whether image b shows concept m, for each concept by itself. A teacher's
            weighs the concept in the loss over locations too.
        valid: (B, H, W) bool, the locations that show the image, and neither padding nor filler. A picture of
            nothing else has none, and nothing is learnt from it.
        concepts: (B, M) indices into the concept bank, `OTHER` for the map of all other concepts;
            None where map m is concept m of the bank.
        layers: the L layers' indices in the model the maps come from.
        directions: the meaningful readings, of `DIRECTIONS`. A source whose scores are already
            normalised over locations has `('spatial',)` only.
        spatial_logits: (B, L, M, H, W), float32, the scores that are read over locations where these are not
            `logits`: a student's attention, or a teacher's share of a concept among all (`share`). Defaults
            to None: `logits` are read in both directions.

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
        """(H, W)."""
        return self.logits.shape[-2], self.logits.shape[-1]

    def check(self) -> InteractionMaps:
        """Check the values too, and return self. It waits for the device: not for every step.

        Raises:
            ValueError: if logits or presence hold a non-finite value, presence leaves [0, 1], or a concept
                index is below `OTHER`; the message names the field, and the images' indices in the batch.
        """
        bounded = (self.presence >= 0) & (self.presence <= 1)
        for fault, sound in (
            ('logits hold a non-finite value', self.logits.isfinite().flatten(1).all(1)),
            ('presence must lie in [0, 1] and be finite, and does not', bounded.all(1)),
        ):
            if not sound.all():
                where = (~sound).nonzero().flatten().tolist()
                raise ValueError(f'{fault} for the images {where} of the batch')
        if self.concepts is not None and (self.concepts < OTHER).any():
            raise ValueError(f'concepts must be indices into the bank or {OTHER}')
        return self

    def spatial_log_probs(self, temperature: float | Tensor = 1.0) -> Tensor:
        """Log-probabilities over the valid locations, (B, L, M, H, W); `MASKED` or less elsewhere.

        Args:
            temperature: divides the logits; a tensor must broadcast against (B, L, M, H, W).

        Raises:
            ValueError: if 'spatial' is not among the directions.
        """
        self._need('spatial')
        scores = (self.logits if self.spatial_logits is None else self.spatial_logits) / temperature
        scores = scores.masked_fill(~self.valid[:, None, None], MASKED)
        return scores.flatten(-2).log_softmax(-1).view_as(scores)

    def semantic_log_probs(self, temperature: float | Tensor = 1.0) -> Tensor:
        """Log-probabilities over the M concepts at each location, (B, L, M, H, W).

        Args:
            temperature: divides the logits; a tensor must broadcast against (B, L, M, H, W).

        Raises:
            ValueError: if 'semantic' is not among the directions.
        """
        self._need('semantic')
        return (self.logits / temperature).log_softmax(2)

    def concept_softmax(self) -> InteractionMaps:
        """Read locations by the concept's log-probability among all concepts there, and not by its score.

        With a background among the concepts a map then keeps to what it names: scores alone are high wherever
        an image is salient.

        Raises:
            ValueError: if 'semantic' is not among the directions.
        """
        return replace(self, spatial_logits=self.semantic_log_probs())

    def resize(self, grid: tuple[int, int]) -> InteractionMaps:
        """Bring the maps to another (H, W): `warp` into a view that shows all of the image."""
        if grid == self.grid:
            return self
        return self.warp(torch.eye(2, 3)[None], grid)

    def warp(self, view: Tensor, grid: tuple[int, int], window: Tensor | None = None) -> InteractionMaps:
        """Warp the maps into a view of their images, at any scale; `spatial_logits` are dropped.

        Args:
            view: (B, 2, 3) affine maps from the view's coordinates to the source's, both running from
                -1 to 1 over the complete picture (as `torch.nn.functional.affine_grid` has it); or (1, 2, 3)
                for all images.
            grid: (H, W) of the result.
            window: (B, 2, 2), as `windows_of` has it, where the view is a part of the grid's canvas. Defaults
                to None: the view fills it.

        Returns:
            Maps on the grid. A location is valid where at least half of it shows the source's valid area:
            nowhere, in a view that shows little else than filler. Of a window that is smaller than a location
            it is half of what the window can fill.
        """
        with torch.autocast(self.logits.device.type, enabled=False):
            upright = is_upright(view)
            view = view.to(self.logits, non_blocking=True)
            window = full_window(view) if window is None else window.to(view)
            valid = self.valid[:, None].float()
            both = torch.cat(((self.logits * valid[:, None]).flatten(1, 2), valid), 1)  # [B, L*M + 1, H, W]
            if upright:
                down, across, share = read_upright_view(view, self.grid, grid, window)
                both = down[:, None] @ both @ across.mT[:, None]  # [B, L*M + 1, h, w]
            else:
                weights, share = read_view(view, self.grid, grid, window)
                both = (both.flatten(2) @ weights.flatten(3).flatten(1, 2).mT).unflatten(-1, grid)
            logits, seen = both[:, :-1], both[:, -1:]
            logits = logits / seen.clamp_min(1e-6)
        return replace(
            self,
            logits=logits.unflatten(1, self.logits.shape[1:3]),
            valid=shown_enough(seen[:, 0] * share / most_filled(grid, window)),
            spatial_logits=None,
        )

    def with_labels(self, labels: Tensor) -> InteractionMaps:
        """Raise the presence of each concept to its label, (B, C) in [0, 1] over the bank's concepts."""
        if self.concepts is not None:
            labels = labels.gather(1, self.concepts.clamp_min(0)).masked_fill(self.concepts == OTHER, 0)
        return replace(self, presence=torch.maximum(self.presence, labels.to(self.presence)))

    def take(self, rows: Tensor) -> InteractionMaps:
        """The maps of the images `rows`, (b,) with values in [0, B)."""
        return replace(
            self,
            logits=self.logits[rows],
            presence=self.presence[rows],
            valid=self.valid[rows],
            concepts=None if self.concepts is None else self.concepts[rows],
            spatial_logits=None if self.spatial_logits is None else self.spatial_logits[rows],
        )

    def gather(self, index: Tensor) -> InteractionMaps:
        """Keep the maps `index`, (B, m) with values in [0, M)."""
        b, n_layers, _, h, w = self.logits.shape
        concepts = index if self.concepts is None else self.concepts.gather(1, index)
        wide = index[:, None, :, None, None].expand(b, n_layers, -1, h, w)
        return replace(
            self,
            logits=self.logits.gather(2, wide),
            presence=self.presence.gather(1, index),
            concepts=concepts,
            spatial_logits=None if self.spatial_logits is None else self.spatial_logits.gather(2, wide),
        )

    def select_layers(self, layers: Sequence[int]) -> InteractionMaps:
        """Keep the maps of some layers, by their indices in `self.layers`."""
        index = list(layers)
        return replace(
            self,
            logits=self.logits[:, index],
            layers=tuple(self.layers[i] for i in index),
            spatial_logits=None if self.spatial_logits is None else self.spatial_logits[:, index],
        )

    def to(self, device: torch.device | str) -> InteractionMaps:
        """Move all tensors to a device, without waiting for a GPU; a CPU would read them too early."""
        there = partial(Tensor.to, device=device, non_blocking=torch.device(device).type != 'cpu')
        return replace(
            self,
            logits=there(self.logits),
            presence=there(self.presence),
            valid=there(self.valid),
            concepts=None if self.concepts is None else there(self.concepts),
            spatial_logits=None if self.spatial_logits is None else there(self.spatial_logits),
        )

    def _need(self, direction: str) -> None:
        if direction not in self.directions:
            raise ValueError(
                f'these maps have no {direction} reading: their directions are {self.directions}'
            )


def shown_enough(share: Tensor) -> Tensor:
    """Which locations show enough of images, by the share (B, H, W) of each that does: half."""
    return share >= 0.5 - 1e-4
