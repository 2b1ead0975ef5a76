"""Position embeddings of other grids than a tower's own."""

from __future__ import annotations

from timm.layers import resample_abs_pos_embed
from torch import Tensor


class ResampledPositions:
    """Resamples position embeddings (bicubic), once for each grid.

    Args:
        n_prefix: how many rows stand before those of the grid, as a class token's. Defaults to 1.
    """

    def __init__(self, n_prefix: int = 1) -> None:
        self.n_prefix = n_prefix
        self._of_grid: dict[tuple, Tensor] = {}

    def __call__(self, own: Tensor, own_grid: tuple[int, int], grid: tuple[int, int]) -> Tensor:
        """The embeddings (1, n_prefix + H * W, C) of a grid (H, W).

        Args:
            own: (1, n_prefix + h * w, C).
            own_grid: (h, w).
            grid: (H, W).
        """
        if grid == own_grid:
            return own
        key = (grid, own.device)
        if key not in self._of_grid:
            self._of_grid[key] = resample_abs_pos_embed(
                own, list(grid), list(own_grid), num_prefix_tokens=self.n_prefix
            )
        return self._of_grid[key]
