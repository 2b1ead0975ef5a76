"""Measures of labels on annotations that are known, and controls that know nothing."""

import numpy as np
import pytest
import torch
from lfi.apis import ConceptAnswers
from lfi.datasets import Shapes
from lfi.pseudo_labels import LabelRules, label_image
from lfi.pseudo_labels.quality import AnnotatedImage, compare, measure, sweep_masks, sweep_presence

RULES = LabelRules(presence_threshold=0.5, min_area=0)
DATA = Shapes('val', num_images=12)


def knowing(info, presence=0.9):
    """The answers of one who sees each class's pixels."""
    maps = torch.zeros(20, 64, 64)
    told = torch.zeros(20)
    for mask, label in zip(info['gt_masks'], info['gt_bboxes_labels']):
        maps[label] += torch.from_numpy(mask).float()
        told[label] = presence
    return ConceptAnswers(told, maps, torch.eye(2, 3), comparable=True)


@pytest.fixture(scope='module')
def perfect():
    infos = [DATA.get_data_info(i) for i in range(12)]
    return [AnnotatedImage.from_results(info, knowing(info)) for info in infos]


def own(image):
    return label_image(image.answers, image.size, RULES)


def test_who_knows_all_has_all(perfect):
    found = measure(perfect, own)
    assert {found[k] for k in ('precision', 'recall', 'f1', 'first', 'mean_iou')} == {1.0}
    # Objects that others cut in two are found as two.
    assert all(found[k] > 0.85 for k in ('box_ap', 'box_recall', 'mask_ap', 'mask_recall'))


def test_presence_is_counted_by_pairs(perfect):
    image = perfect[0]
    true = sorted(image.regions)
    wrong = next(c for c in range(20) if c not in true)
    presence = torch.zeros(20)
    presence[true[0]], presence[wrong] = 0.6, 0.8
    found = measure([image.with_presence(presence)], own)
    assert found['precision'] == 0.5 and found['recall'] == 1 / len(true)
    assert found['f1'] == pytest.approx(2 * 0.5 / len(true) / (0.5 + 1 / len(true)))
    assert found['first'] == 0
    nothing = measure([image.with_presence(torch.zeros(20))], own)
    assert nothing['precision'] == nothing['f1'] == nothing['first'] == nothing['box_ap'] == 0


def test_controls_know_less(perfect):
    found = compare(perfect, RULES)
    assert found['own'] == found['own maps, true presence']
    assert found['own maps, presence of another image']['f1'] < 0.4
    for where in ('centre', 'complete image'):
        for whether in ('own', 'true'):
            control = found[f'{where}, {whether} presence']
            assert control['f1'] == 1 and control['mean_iou'] < 0.5 * found['own']['mean_iou']
    # Of each class the share of its pixels, of all images that it is in.
    pixels, images = np.zeros(20), np.zeros(20)
    for info in map(DATA.get_data_info, range(12)):
        for c in set(info['gt_bboxes_labels'].tolist()):
            pixels[c] += info['gt_masks'][info['gt_bboxes_labels'] == c].any(0).mean()
            images[c] += 1
    shares = pixels[images > 0] / images[images > 0]
    assert found['complete image, true presence']['mean_iou'] == pytest.approx(shares.mean())


def test_images_without_annotations_do_not_count(perfect):
    empty = AnnotatedImage((64, 64), perfect[0].answers, [], {}, {})
    assert compare([*perfect[:3], empty], RULES) == compare(perfect[:3], RULES)
    with pytest.raises(ValueError, match='1 images have annotated objects: give two or more'):
        compare([perfect[0], empty], RULES)


@pytest.mark.parametrize('found', [True, False])
def test_who_finds_a_crowd_or_not_is_neither_right_nor_wrong(found):
    infos = [DATA.get_data_info(i) for i in range(6)]
    crowd = infos[0]['gt_bboxes_labels'].max()
    flags = infos[0]['gt_bboxes_labels'] == crowd
    answers = [knowing(info) for info in infos]
    if not found:
        answers[0].presence[crowd] = answers[0].maps[crowd] = 0
    ignored = [{**infos[0], 'gt_ignore_flags': flags}, *infos[1:]]
    images = [AnnotatedImage.from_results(info, answer) for info, answer in zip(ignored, answers)]
    measured = measure(images, own)
    assert {measured[k] for k in ('precision', 'recall', 'f1', 'first', 'mean_iou')} == {1.0}


def test_crowds_are_not_asked_for():
    info = dict(
        DATA.get_data_info(1),
        gt_ignore_flags=np.array([0, 1, 1, 1])[: len(DATA.get_data_info(1)['gt_masks'])],
    )
    image = AnnotatedImage.from_results(info, knowing(info))
    assert list(image.regions) == [int(info['gt_bboxes_labels'][0])]
    assert [each['ignored'] for each in image.objects] == info['gt_ignore_flags'].astype(bool).tolist()


def test_sweeps_are_the_measures_at_each_threshold(perfect):
    images = [
        image.with_presence(image.answers.presence * p)
        for image, p in zip(perfect, torch.linspace(0.3, 1, 12))
    ]
    by_presence = sweep_presence(images)
    for threshold in (0.2, 0.5, 0.7):
        expected = measure(
            images, lambda image, t=threshold: label_image(image.answers, image.size, LabelRules(t))
        )
        assert by_presence[threshold] == {k: expected[k] for k in ('precision', 'recall', 'f1', 'first')}
    assert by_presence[0.2]['recall'] == 1 > by_presence[0.7]['recall']
    by_mask = sweep_masks(images, RULES)
    assert by_mask[0.3] == measure(images, own)
