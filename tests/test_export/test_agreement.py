"""What counts as the same output."""

import pytest
import torch
from lfi.export import (
    FLOAT16,
    FLOAT32,
    Detections,
    detector_agreement,
    merge_agreements,
    output_agreement,
    split_detections,
)

MASKS = torch.zeros(3, 8, 8, dtype=torch.bool)
MASKS[:, :4] = True
EXPECTED = Detections(
    torch.tensor([[0.0, 0, 4, 4], [1.0, 1, 6, 6], [1.0, 1, 6, 6]]),
    torch.tensor([0.9, 0.5, 0.4]),
    torch.tensor([1, 2, 0]),
    MASKS,
)


def compared(found, tolerance=FLOAT32):
    return detector_agreement([found], [EXPECTED], 8, tolerance)


def test_the_order_of_detections_is_no_difference():
    agreement = compared(Detections(*(part.flip(0) for part in EXPECTED)))
    assert agreement.holds and agreement.compared == 3
    assert agreement.lines == [
        'detections in 1 images: 3 of 3 are the same, boxes within 0.0e+00 pixels, scores within 0.0e+00, '
        'masks within 0.00% of the box'
    ]


def off(part, by):
    return EXPECTED._replace(**{part: getattr(EXPECTED, part) + by})


@pytest.mark.parametrize(
    ('found', 'count'),
    [
        (off('boxes', 0.01), 0),
        (off('scores', 0.001), 0),
        (off('labels', torch.tensor([0, 0, 1])), 2),
        (EXPECTED._replace(masks=MASKS ^ torch.eye(8, dtype=torch.bool)), 0),
        (Detections(*(part[:2] for part in EXPECTED)), 2),
        (Detections(*(torch.cat((part, part[:1])) for part in EXPECTED)), 3),
    ],
)
def test_what_is_not_the_same(found, count):
    agreement = compared(found)
    assert not agreement.holds
    assert f': {count} of {max(3, len(found.scores))} are the same' in agreement.lines[0]


def test_a_share_of_all_detections_counts_and_not_of_each_batch():
    most = Detections(*(part[:2] for part in EXPECTED))
    assert not compared(most, FLOAT16).holds
    agreement = merge_agreements([compared(most, FLOAT16), *[compared(EXPECTED, FLOAT16)] * 3])
    assert (
        agreement.holds and (agreement.matched, agreement.compared) == (11, 12) and len(agreement.lines) == 4
    )
    outputs = (['logits'], [torch.ones(1)], [torch.zeros(1)], FLOAT16)
    same = output_agreement(['logits'], [torch.ones(1)], [torch.ones(1)], FLOAT16)
    assert same.holds and not merge_agreements([same] * 20 + [output_agreement(*outputs)]).holds


def test_half_precision_may_differ_more():
    assert compared(off('boxes', 0.01), FLOAT16).holds and compared(off('scores', 0.01), FLOAT16).holds
    assert not compared(off('boxes', 0.1), FLOAT16).holds


def test_nothing_found_is_nothing_compared():
    empty = Detections(*(part[:0] for part in EXPECTED))
    agreement = detector_agreement([empty], [empty], 8, FLOAT32)
    assert agreement.holds and agreement.compared == 0


def test_rows_that_hold_nothing_are_left_out():
    boxes, scores = torch.tensor([[[0.0, 0, 4, 8], [0, 0, 0, 0]]]), torch.tensor([[0.5, 0.0]])
    masks = torch.ones(1, 2, 2, 2)
    (found,) = split_detections([boxes, scores, torch.tensor([[3, -1]]), masks], (8, 8), 0.5)
    assert found.labels.tolist() == [3] and found.masks[0, 2:6, 1:3].all() and not found.masks[..., 4:].any()


def test_values_and_labels():
    values, labels = torch.tensor([[1.0, -2.0]]), torch.zeros(10, 1000, dtype=torch.long)
    names = ['logits', 'labels']
    agreement = output_agreement(names, [values + 1e-4, labels], [values, labels], FLOAT32)
    assert agreement.holds
    assert agreement.lines[0].startswith('logits (1, 2): largest difference 5.0e-05')
    assert not output_agreement(names, [values + 1e-3, labels], [values, labels], FLOAT32).holds
    changed = labels.clone()
    changed[0, :20] = 1
    agreement = output_agreement(names, [values, changed], [values, labels], FLOAT32)
    assert not agreement.holds and agreement.lines[1] == 'labels (10, 1000): 99.80% are the same'


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_values_that_are_not_finite_differ(value):
    expected = torch.tensor([[1.0, -2.0]])
    agreement = output_agreement(['logits'], [expected + value], [expected], FLOAT16)
    assert not agreement.holds and agreement.lines == ['logits (1, 2): values that are not finite']
    assert not output_agreement(['logits'], [expected], [expected * value], FLOAT16).holds


def test_zeros_alone_do_not_differ():
    zeros = torch.zeros(1, 2)
    assert output_agreement(['logits'], [zeros], [zeros], FLOAT32).holds
    assert not output_agreement(['logits'], [zeros + 1], [zeros], FLOAT32).holds
