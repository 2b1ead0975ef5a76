"""COCO's average precision at an IoU of 0.5, against a loop."""

import numpy as np
import pytest
from lfi.evaluation import MeanIoU, coco_precision
from lfi.pseudo_labels import ObjectLabel
from pycocotools import mask as rle


def thing(concept, box, score=1.0, **more):
    x, y, w, h = box
    mask = np.zeros((40, 40), bool)
    mask[y : y + h, x : x + w] = True
    return {**vars(ObjectLabel.from_mask(concept, score, mask)), **more}


def true_thing(concept, box, ignored=False):
    return thing(concept, box, ignored=ignored)


def overlap(a, b):
    (ax, ay, aw, ah), (bx, by, bw, bh) = a['bbox'], b['bbox']
    w, h = min(ax + aw, bx + bw) - max(ax, bx), min(ay + ah, by + bh) - max(ay, by)
    both = max(w, 0) * max(h, 0)
    return both / (aw * ah + bw * bh - both)


def slow(true, found):
    """Greedy matching by score; precision made to fall, and read at 101 recalls."""
    concepts = sorted({t['concept'] for objects in true for t in objects})
    precisions, recalls = [], []
    for c in concepts:
        total = sum(t['concept'] == c for objects in true for t in objects)
        ranked = sorted(
            ((f, i) for i, objects in enumerate(found) for f in objects if f['concept'] == c),
            key=lambda pair: -pair[0]['score'],
        )
        taken, hits = set(), []
        for f, i in ranked:
            rivals = [
                (overlap(t, f), k) for k, t in enumerate(true[i]) if t['concept'] == c and (i, k) not in taken
            ]
            iou, k = max(rivals, default=(0, None))
            hits.append(iou >= 0.5)
            if iou >= 0.5:
                taken.add((i, k))
        recall = np.cumsum(hits) / total
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        at = [
            max((p for p, r in zip(precision, recall) if r >= level), default=0)
            for level in np.linspace(0, 1, 101)
        ]
        precisions.append(np.mean(at))
        recalls.append(recall[-1] if len(hits) else 0)
    return np.mean(precisions), np.mean(recalls)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('seed', range(3))
def test_coco_precision_is_that_of_a_loop(kind, seed):
    rng = np.random.default_rng(seed)
    true, found = [], []
    for _ in range(6):
        boxes = [
            (int(c), tuple(map(int, (*rng.integers(0, 25, 2), *rng.integers(6, 15, 2)))))
            for c in rng.integers(0, 3, 4)
        ]
        true.append([true_thing(*each) for each in boxes])
        near = [
            (c, (x + int(rng.integers(0, 4)), y + int(rng.integers(0, 4)), w, h)) for c, (x, y, w, h) in boxes
        ]
        found.append([thing(*each, score=float(rng.random())) for each in near if rng.random() < 0.8])
    measured = coco_precision(true, found, kind)
    precision, recall = slow(true, found)
    # Of rectangles boxes and masks are the same.
    assert measured['average_precision'] == pytest.approx(precision, abs=1e-6)
    assert measured['recall'] == pytest.approx(recall)
    assert 0 < precision < 1


def test_other_classes_crowds_and_nothing_at_all():
    true = [[true_thing(2, (0, 0, 10, 10)), true_thing(2, (20, 20, 15, 15), ignored=True)], []]
    right = thing(2, (0, 0, 10, 10), 0.5)
    assert coco_precision(true, [[right], []], 'segm') == pytest.approx(dict(average_precision=1, recall=1))
    # What lies in a crowd, and a class that no image shows, are no mistakes.
    more = [[right, thing(2, (21, 21, 8, 8), 0.9), thing(7, (0, 0, 9, 9), 0.9)], []]
    assert coco_precision(true, more, 'segm') == pytest.approx(dict(average_precision=1, recall=1))
    assert coco_precision(true, [[], []], 'bbox') == dict(average_precision=0, recall=0)
    with pytest.raises(ValueError, match='no image shows an object that counts'):
        coco_precision([[true_thing(2, (0, 0, 4, 4), ignored=True)]], [[]], 'bbox')


def encoded(masks):
    return {c: rle.encode(np.asfortranarray(mask, np.uint8)) for c, mask in masks.items()}


def test_mean_iou_is_that_of_all_pixels_together():
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


def test_without_a_shown_class_there_is_no_mean_iou():
    measure = MeanIoU(2)
    measure.add(encoded({0: np.ones((2, 2), bool)}), encoded({1: np.zeros((2, 2), bool)}))
    with pytest.raises(ValueError, match='no image shows a class'):
        measure.value()
