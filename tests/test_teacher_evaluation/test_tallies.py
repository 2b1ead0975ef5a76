import pytest
import torch
from lfi.teacher_evaluation.images import Shown
from lfi.teacher_evaluation.tallies import PresenceTally


def test_regions_of_another_area_are_neither_present_nor_absent():
    large, small = torch.ones(4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
    small[0, 0] = True
    tally = PresenceTally(3, (0.5, 1.0))
    image = Shown(torch.zeros(3, 4, 4), {0: large, 2: small}, None)
    tally.add(image, {'image': torch.tensor([0.9, 0.2, 0.7])})
    tally.add(Shown(image.pixels, {}, None), {'image': torch.ones(3)})
    found = tally.summary()
    assert list(found) == ['image', 'chance: how often']
    assert found['image']['precision'] == found['image']['recall'] == 1
    assert found['image']['brier'] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert tally.errors('image').tolist() == pytest.approx([found['image']['brier']])
