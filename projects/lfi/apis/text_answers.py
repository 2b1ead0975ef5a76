"""A student's answers to texts, from its recorded states."""

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
    """Answer T texts for a batch of B images.

    Args:
        readout: The model's read-out.
        states: The states that its backbone recorded.
        texts: (T, E), embeddings of unit length.
        concepts: (T,), the texts' indices in the bank of the training, where queries are bound to concepts;
            else None.
        canvas: Height and width in pixels of what the patches cover, as `seen_canvas` gives it.
        sizes: Height and width of each image at the batch's top left.

    Returns:
        Class scores (B, T); and the text-to-image maps.
    """
    b, t, device = len(sizes), len(texts), texts.device
    full_view = torch.eye(2, 3, device=device).expand(b, 2, 3)
    like = InteractionMaps(
        logits=torch.zeros(b, 1, t, *states.grid, device=device),
        presence=torch.ones(b, t, device=device),
        valid=torch.ones(b, *states.grid, dtype=torch.bool, device=device),
        concepts=None if concepts is None else concepts.expand(b, t),
    ).warp(full_view, states.grid, filled_share(canvas, sizes, device))
    queries = readout.query_embeddings(states)
    return readout.class_scores(queries, texts), readout.text_to_image(states, queries, texts, like)


def cut_out(
    maps: InteractionMaps, index: int, canvas: tuple[int, int], size: tuple[int, int], view: Tensor
) -> tuple[Tensor, Tensor]:
    """Cut the locations that show an image out of its last maps.

    Args:
        maps: Maps of the batch.
        index: Index of the image in the batch.
        canvas: Height and width in pixels of what the patches cover, as `seen_canvas` gives it.
        size: Height and width of the image at the batch's top left.
        view: (2, 3), from the coordinates of the image in the batch to those of the image in its file.

    Returns:
        Probabilities (T, h, w); and the view, from their own coordinates to those of the image in its file.
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
