"""What is read of the steps of a pipeline that pad."""

import pytest
from lfi.adaptation.data import paddings


@pytest.mark.parametrize(
    ('step', 'padding'),
    [
        (dict(type='Pad', size_divisor=32), (32, None, (0,))),
        (dict(type='mmdet.Pad', size=(64, 64), pad_val=114), (None, (64, 64), (114,))),
        (dict(type='Pad', size_divisor=8, pad_val=dict(img=(1, 2, 3), seg=255)), (8, None, (1, 2, 3))),
        (dict(type='torchvision/Pad', padding=4), (None, None, (0,))),
    ],
)
def test_a_step_says_how_far_it_pads_and_with_what(step, padding):
    assert paddings([dict(type='Resize', scale=64), step]) == [padding]


def test_steps_that_do_not_pad_say_nothing():
    assert paddings([dict(type='Resize', scale=64), dict(type='PackInputs')]) == []
