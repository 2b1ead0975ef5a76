"""What a student's backbone leaves of a forward pass, and who asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class InteractionStates:
    """What one forward pass of the student leaves for the read-out.

    Args:
        asked: (B, M, C), the asked queries after the last block; None where nothing was asked.
        attention: for each supervised layer (B, M, N), the asked queries' attention over the N patches; ()
            where nothing was asked.
        tokens: for each supervised layer (B, n, C), the patch tokens and before them, if there is one, the
            class token: n is N or N + 1.
        layers: the supervised layers' indices.
        grid: (H, W) with H * W = N.
        valid: (B, N) bool, the patches that show any of their image. Defaults to None: all.
    """

    asked: Tensor | None
    attention: tuple[Tensor, ...]
    tokens: tuple[Tensor, ...]
    layers: tuple[int, ...]
    grid: tuple[int, int]
    valid: Tensor | None = None

    def locations(self) -> Tensor:
        """The patch tokens of the last supervised layer as a feature map, (B, C, H, W)."""
        n = self.grid[0] * self.grid[1]
        return self.tokens[-1][:, -n:].mT.unflatten(-1, self.grid)

    def of_questions(self, start: int, number: int) -> InteractionStates:
        """The states with the answers to some of the questions alone; to none as where nothing was asked."""
        if not number or self.asked is None:
            return replace(self, asked=None, attention=())
        if number == self.asked.shape[1]:
            return self
        own = slice(start, start + number)
        return replace(
            self, asked=self.asked[:, own], attention=tuple(each[:, own] for each in self.attention)
        )


class InteractionRecord:
    """Holds the `InteractionStates` of the latest forward pass inside `record_interactions()`.

    Args:
        questions: (B, M, C) or (M, C), the asked queries' starts. Defaults to None: nothing is asked.

    Attributes:
        passes: how many forward passes there have been.
    """

    def __init__(self, questions: Tensor | None = None) -> None:
        self.questions = questions
        self.passes = 0
        self._states: InteractionStates | None = None

    def write(self, states: InteractionStates) -> None:
        """Keep the states of a forward pass, in place of earlier ones."""
        self.passes += 1
        self._states = states

    @property
    def states(self) -> InteractionStates:
        """The recorded states.

        Raises:
            RuntimeError: if the backbone has not run since recording began.
        """
        if self._states is None:
            raise RuntimeError('no interactions recorded: the backbone did not run inside the context')
        return self._states


class InteractionRecorder:
    """What every backbone has that can be asked: put it before the backbone among the bases of a class.

    The backbone has `query_dims`, the width C of queries and tokens, and `patch_grid(height, width)`, the
    grid of an image. Its forward pass answers what `_asked` gives, keeps from it what `_valid_patches` marks
    as padding, and calls `_write`.
    """

    query_dims: Any
    """C, a whole number."""
    patch_stride: Any
    """Height and width in pixels from one location to the next."""

    _records: tuple[InteractionRecord, ...] = ()
    _valid_sizes: Sequence[tuple[int, int]] | None = None

    @contextmanager
    def record_interactions(
        self, questions: Tensor | None = None, valid_sizes: Sequence[tuple[int, int]] | None = None
    ) -> Iterator[InteractionRecord]:
        """Keep the interactions of the forward passes made inside the context.

        A context within another asks its own questions besides: each record has the answers to its own.

        Args:
            questions: the asked queries' starts, (B, M, C), or (M, C) for all images. Each becomes a query
                that reads the patches in every block. Defaults to None: nothing is asked.
            valid_sizes: as of `padded`, which is then entered too: `torch.compile` fails at two contexts in
                one function. Defaults to None: as it is outside.

        Raises:
            ValueError: as `padded` says.

        Example:
            >>> with backbone.record_interactions(readout.questions(texts)) as record:
            ...     features = backbone(images)
            >>> states = record.states
        """
        outer, record = (self._records, self._valid_sizes), InteractionRecord(questions)
        if valid_sizes is not None:
            self._valid_sizes = _not_empty(valid_sizes)
        self._records = (*self._records, record)
        try:
            yield record
        finally:
            self._records, self._valid_sizes = outer

    @contextmanager
    def padded(self, valid_sizes: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Keep the queries from reading padding in the forward passes made inside the context.

        Args:
            valid_sizes: height and width in pixels, at least 1, of each image's area at the top left of the
                batch; as many as the batch has images.

        Raises:
            ValueError: if a size is below 1; or, in the forward pass, if there are more or fewer sizes than
                images.
        """
        outer, self._valid_sizes = self._valid_sizes, _not_empty(valid_sizes)
        try:
            yield
        finally:
            self._valid_sizes = outer

    def _asked(self, images: int) -> Tensor | None:
        """The asked queries' starts of all records for a batch, (B, M, C), or None."""
        starts = []
        for record in self._records:
            questions = record.questions
            if questions is None:
                continue
            if questions.ndim == 2:
                questions = questions.expand(images, -1, -1)
            starts.append(questions)
        if len(starts) < 2:
            return starts[0] if starts else None
        return torch.cat(starts, 1)

    def _write(self, states: InteractionStates) -> None:
        """Give each record the answers to its own questions, of states with all records' queries."""
        start = 0
        for record in self._records:
            number = 0 if record.questions is None else record.questions.shape[-2]
            record.write(states.of_questions(start, number))
            start += number

    def _valid_patches(self, images: int, grid: tuple[int, int], device: torch.device) -> Tensor | None:
        """(B, H * W) bool, the patches that show any of their image; None where no image is padded."""
        if self._valid_sizes is None:
            return None
        if len(self._valid_sizes) != images:
            raise ValueError(f'valid_sizes has {len(self._valid_sizes)} sizes for a batch of {images} images')
        height, width = self.patch_stride
        sides = [(-(-h // height), -(-w // width)) for h, w in self._valid_sizes]
        if all(h >= grid[0] and w >= grid[1] for h, w in sides):
            return None
        rows, columns = torch.arange(grid[0]), torch.arange(grid[1])
        h, w = torch.tensor(sides).T[..., None]  # each [B, 1]
        valid = (rows < h)[:, :, None] & (columns < w)[:, None]  # [B, H, W]
        return valid.flatten(1).to(device, non_blocking=True)


def _not_empty(valid_sizes: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """The sizes; a ValueError if one is below 1."""
    empty = [tuple(size) for size in valid_sizes if min(size) < 1]
    if empty:
        # Queries that may read no patch would have attention that is not a number.
        raise ValueError(f'valid_sizes has {empty[0]}: heights and widths must be at least 1 pixel')
    return valid_sizes
