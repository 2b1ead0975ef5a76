"""Recording of a backbone's interactions during a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class InteractionStates:
    """Queries, attention and tokens of one forward pass, for the read-out.

    Args:
        asked_queries: (B, M, C), asked queries after the last block. None if nothing was asked.
        attention: asked queries' attention to the N patches, (B, M, N) for each supervised layer. () if
            nothing was asked.
        tokens: (B, n, C) for each supervised layer, the class token, if any, and the patch tokens: n is N + 1
            or N.
        layers: indices of the supervised layers.
        grid: (H, W) with H * W = N.
        valid: (B, N) bool, patches that show a part of their image. Defaults to None, all patches.
    """

    asked_queries: Tensor | None
    attention: tuple[Tensor, ...]
    tokens: tuple[Tensor, ...]
    layers: tuple[int, ...]
    grid: tuple[int, int]
    valid: Tensor | None = None

    def locations(self) -> Tensor:
        """Return the patch tokens of the last supervised layer as a feature map, (B, C, H, W)."""
        n = self.grid[0] * self.grid[1]
        return self.tokens[-1][:, -n:].mT.unflatten(-1, self.grid)

    def select_queries(self, start: int, number: int) -> InteractionStates:
        """Return the states of `number` asked queries from index `start` on; none if `number` is 0."""
        if not number or self.asked_queries is None:
            return replace(self, asked_queries=None, attention=())
        if number == self.asked_queries.shape[1]:
            return self
        rows = slice(start, start + number)
        attention = tuple(layer[:, rows] for layer in self.attention)
        return replace(self, asked_queries=self.asked_queries[:, rows], attention=attention)


class InteractionRecord:
    """Record of the latest forward pass inside `record_interactions()`.

    Args:
        asked_queries: (B, M, C) or (M, C), initial asked queries. Defaults to None: nothing is asked.

    Attributes:
        passes: number of forward passes so far.
    """

    def __init__(self, asked_queries: Tensor | None = None) -> None:
        self.asked_queries = asked_queries
        self.passes = 0
        self._states: InteractionStates | None = None

    def write(self, states: InteractionStates) -> None:
        """Store the states of a forward pass, and discard earlier ones."""
        self.passes += 1
        self._states = states

    @property
    def states(self) -> InteractionStates:
        """Recorded states.

        Raises:
            RuntimeError: if the backbone did not run inside the context.
        """
        if self._states is None:
            raise RuntimeError('no interactions recorded: the backbone did not run inside the context')
        return self._states


class InteractionRecorder:
    """Mixin for backbones that record interactions. It precedes the backbone's class among the bases.

    The class provides `query_dims`, `patch_stride` and `patch_grid(height, width)`, the grid of an image. Its
    forward pass starts with `_initial_asked_queries`, lets these queries read the patches of `_valid_patches`
    only, and calls `_write`.
    """

    query_dims: Any
    """C, width of queries and tokens."""
    patch_stride: Any
    """Height and width in pixels from one location to the next."""

    _records: tuple[InteractionRecord, ...] = ()
    _valid_sizes: Sequence[tuple[int, int]] | None = None

    @contextmanager
    def record_interactions(
        self, asked_queries: Tensor | None = None, valid_sizes: Sequence[tuple[int, int]] | None = None
    ) -> Iterator[InteractionRecord]:
        """Record the interactions of forward passes inside the context.

        Contexts can be nested. Each record holds the states of its own asked queries.

        Args:
            asked_queries: initial asked queries, (B, M, C), or (M, C) for all images. Each query reads the
                patches in every block. Defaults to None: nothing is asked.
            valid_sizes: argument of `hide_padding`. One context does both, because `torch.compile` fails at
                two contexts in one function. Defaults to None: the sizes of the outer context.

        Raises:
            ValueError: if `hide_padding` refuses the sizes.

        Example:
            >>> with backbone.record_interactions(readout.asked_queries(texts)) as record:
            ...     features = backbone(images)
            >>> states = record.states
        """
        outer, record = (self._records, self._valid_sizes), InteractionRecord(asked_queries)
        if valid_sizes is not None:
            self._valid_sizes = _checked_sizes(valid_sizes)
        self._records = (*self._records, record)
        try:
            yield record
        finally:
            self._records, self._valid_sizes = outer

    @contextmanager
    def hide_padding(self, valid_sizes: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Hide padding from the queries in forward passes inside the context.

        Args:
            valid_sizes: height and width in pixels, at least 1, of each image's valid area at the top left,
                without padding.

        Raises:
            ValueError: if a size is below 1, or, in the forward pass, if the number of sizes is not the
                number of images.
        """
        outer, self._valid_sizes = self._valid_sizes, _checked_sizes(valid_sizes)
        try:
            yield
        finally:
            self._valid_sizes = outer

    def check_last_layer_recorded(self) -> None:
        """Check that the last recorded layer is the last of the backbone. Norms may follow.

        Pretraining without a task calls this method: no loss would train the layers after the last recorded
        one. A class that may stop earlier overrides it.

        Raises:
            ValueError: if layers follow. The message names the option and the value to set.
        """

    def _initial_asked_queries(self, batch_size: int) -> Tensor | None:
        """Initial asked queries of all records for a batch, (B, M, C), or None."""
        initial_queries = []
        for record in self._records:
            asked_queries = record.asked_queries
            if asked_queries is None:
                continue
            if asked_queries.ndim == 2:
                asked_queries = asked_queries.expand(batch_size, -1, -1)
            initial_queries.append(asked_queries)
        if len(initial_queries) < 2:
            return initial_queries[0] if initial_queries else None
        return torch.cat(initial_queries, 1)

    def _write(self, states: InteractionStates) -> None:
        """Write to each record the states of its own queries from the `states` of all queries."""
        start = 0
        for record in self._records:
            number = 0 if record.asked_queries is None else record.asked_queries.shape[-2]
            record.write(states.select_queries(start, number))
            start += number

    def _valid_patches(self, batch_size: int, grid: tuple[int, int], device: torch.device) -> Tensor | None:
        """Mask of patches that show a part of their image, (B, H * W) bool. None if no image is padded."""
        if self._valid_sizes is None:
            return None
        number = len(self._valid_sizes)
        if number != batch_size:
            raise ValueError(f'valid_sizes has {number} sizes for a batch of {batch_size} images')
        height, width = self.patch_stride
        sides = [(-(-h // height), -(-w // width)) for h, w in self._valid_sizes]
        if all(h >= grid[0] and w >= grid[1] for h, w in sides):
            return None
        rows, columns = torch.arange(grid[0]), torch.arange(grid[1])
        h, w = torch.tensor(sides).T[..., None]  # each [B, 1]
        valid = (rows < h)[:, :, None] & (columns < w)[:, None]  # [B, H, W]
        return valid.flatten(1).to(device, non_blocking=True)


def _checked_sizes(valid_sizes: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """Return the sizes, or raise a ValueError if one is below 1."""
    empty = [tuple(size) for size in valid_sizes if min(size) < 1]
    if empty:
        # Queries without any patch to read would have NaN attention.
        raise ValueError(f'valid_sizes has {empty[0]}: heights and widths must be at least 1 pixel')
    return valid_sizes
