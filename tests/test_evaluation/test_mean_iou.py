"""Mean IoU against pixels counted one by one."""

import numpy as np
import pytest
from lfi.evaluation import MeanIoU
from pycocotools import mask as rle


def encoded(masks):
    return {c: rle.encode(np.asfortranarray(mask, np.uint8)) for c, mask in masks.items()}


def test_it_is_that_of_all_pixels_together():
    rng = np.random.default_rng(0)
    measure, both, either, shown = MeanIoU(5), np.zeros(5), np.zeros(5), set()
    for _ in range(6):
        # Of class 4 nothing is ever shown.
        true = {int(c): rng.random((7, 9)) < 0.4 for c in rng.choice(4, 2, replace=False)}
        found = {int(c): rng.random((7, 9)) < 0.4 for c in rng.choice(5, 3, replace=False)}
        measure.add(encoded(found), encoded(true))
        shown |= true.keys()
        nothing = np.zeros((7, 9), bool)
        for c in range(5):
            a, b = found.get(c, nothing), true.get(c, nothing)
            for y in range(7):
                for x in range(9):
                    both[c] += a[y, x] and b[y, x]
                    either[c] += a[y, x] or b[y, x]
    assert measure.value() == pytest.approx(np.mean([both[c] / either[c] for c in shown]))
    assert 4 not in shown and either[4] > 0


def test_without_a_shown_class_there_is_none():
    measure = MeanIoU(2)
    measure.add(encoded({0: np.ones((2, 2), bool)}), encoded({1: np.zeros((2, 2), bool)}))
    with pytest.raises(ValueError, match='no image shows a class'):
        measure.value()
