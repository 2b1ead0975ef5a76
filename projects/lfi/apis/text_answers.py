"""How a student's recorded states answer texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.models import InteractionReadout
from lfi.models.backbones import InteractionStates
from lfi.structures import InteractionMaps, filled_share


def answer_texts(
    readout: InteractionReadout,
    states: InteractionStates,
    texts: Tensor,
    concepts: Tensor | None,
    canvas: tuple[int, int],
    sizes: Sequence[tuple[int, int]],
) -> tuple[Tensor, InteractionMaps]:
    """Class scores (B, T) and maps over positions, of T texts in a batch of B images.

    Args:
        readout: the model's.
        states: what its backbone recorded.
        texts: (T, E), unit length.
        concepts: (T,), the texts' places in the bank of the training, where queries are bound to these; else
            None.
        canvas: height and width of the batch in pixels.
        sizes: height and width of each image at the batch's top left.
    """
    b, t, device = len(sizes), len(texts), texts.device
    whole = torch.eye(2, 3, device=device).expand(b, 2, 3)
    like = InteractionMaps(
        logits=torch.zeros(b, 1, t, *states.grid, device=device),
        presence=torch.ones(b, t, device=device),
        valid=torch.ones(b, *states.grid, dtype=torch.bool, device=device),
        concepts=None if concepts is None else concepts.expand(b, t),
    ).warp(whole, states.grid, filled_share(canvas, sizes, device))
    queries = readout.query_embeddings(states)
    return readout.class_scores(queries, texts), readout.text_to_image(states, queries, texts, like)


def cut_out(
    maps: InteractionMaps, index: int, canvas: tuple[int, int], size: tuple[int, int], view: Tensor
) -> tuple[Tensor, Tensor]:
    """The part of an image's last maps that shows the image, and where it lies.

    Args:
        maps: of the batch.
        index: of the image in the batch.
        canvas: height and width of the batch in pixels.
        size: height and width of the image at the batch's top left.
        view: (2, 3), from the coordinates of the image in the batch to those of the image in its file.

    Returns:
        Probabilities (T, h, w), and the view of their own coordinates.
    """
    valid = maps.valid[index]
    h, w = int(valid.any(1).sum()), int(valid.any(0).sum())
    heat = maps.over_positions()[index, -1, :, :h, :w].exp()
    # The last cell may end beyond the image, or short of it.
    reach_y, reach_x = (
        cells * pixels / (side * total) for cells, pixels, side, total in zip((h, w), canvas, maps.grid, size)
    )
    cut = view.new_tensor([[reach_x, 0, reach_x - 1], [0, reach_y, reach_y - 1], [0, 0, 1]])
    return heat, view @ cut
