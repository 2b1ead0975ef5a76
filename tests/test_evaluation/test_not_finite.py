"""A diverged student has no scores: NaN would be taken for the lowest or the highest value."""

import numpy as np
import pytest
import torch
from lfi.evaluation.localization import (
    energy_pointing_game,
    map_average_precision,
    pointing_game,
    rank_correlations,
    region_iou,
)
from lfi.evaluation.presence import presence_quality

MASKS = torch.tensor([[[True, False], [False, False]]])


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('measure', [pointing_game, energy_pointing_game, map_average_precision, region_iou])
def test_maps(measure, value):
    maps = torch.rand(1, 2, 2)
    measure(maps, MASKS)
    maps[0, 1, 1] = value
    with pytest.raises(ValueError, match='maps has values that are not finite'):
        measure(maps, MASKS)


def test_presence_and_correlations():
    with pytest.raises(ValueError, match='presence has values that are not finite'):
        presence_quality(torch.tensor([0.5, float('nan')]), torch.tensor([True, False]))
    with pytest.raises(ValueError, match='maps has values that are not finite'):
        rank_correlations(np.array([[0.0, 1.0], [np.nan, 1.0]]))
