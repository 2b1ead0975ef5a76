"""`lfi pseudo-label --evaluate`: labels beside controls, and thresholds to choose from."""

from functools import partial

import pytest
from lfi.datasets import Shapes
from lfi.errors import UsageError

SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'


def tables(out):
    """Each table by its first column's name: its rows by their first cell, numbers by the column's name."""
    found, head = {}, None
    for line in out.splitlines():
        if line[:1] != '|':
            head = None
            continue
        first, *cells = (cell.strip() for cell in line.split('|')[1:-1])
        if head is None:
            head, rows = cells, found.setdefault(first, {})
        elif first != '---':
            rows[first] = dict(zip(head, map(float, cells)))
    return found


@pytest.fixture
def run_main(call_tool):
    return partial(call_tool, 'pseudo-label --evaluate')


def test_a_teachers_labels_stand_beside_controls(run_tool, config_path):
    out = run_tool('pseudo-label --evaluate', config_path(SHAPES), '--images', '40', '--sweep')
    assert '40 images; presence_threshold=0.6, mask_threshold=0.3, min_area=0.005, max_per_image=100' in out
    assert 'min_score=0.5; in %' in out
    found = tables(out)
    labels = found['labels']
    own, centre = labels['own'], labels['centre, own presence']
    assert own['mean IoU'] > centre['mean IoU'] + 5 and own['mask AP50'] > centre['mask AP50'] + 5
    assert own['precision'] == centre['precision'] > 70
    assert labels['own maps, true presence']['F1'] == 100
    assert labels['own maps, presence of another image']['F1'] < 20
    same = {name: own[name] for name in ('precision', 'recall', 'F1', 'first class')}
    assert found['presence threshold']['0.6'] == same
    same = {name: own[name] for name in ('mean IoU', 'box AP50', 'box recall', 'mask AP50', 'mask recall')}
    assert found['mask threshold']['0.3'] == same


def test_a_student_is_measured_too(run_main, small_training):
    config, checkpoint = small_training()
    out = run_main(config, '--checkpoint', checkpoint, '--images', '8', '--presence-threshold', '0')
    labels = tables(out)['labels']
    # With a threshold of 0 every concept is taken for present.
    assert labels['own']['recall'] == 100 and labels['own']['precision'] < 20


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (['ring'], '1 concepts are asked about, and the data set has 20 classes'),
        (lambda names: names[::-1], 'stands where the data set has the class'),
    ],
)
def test_texts_are_the_classes_in_their_order(run_main, config_path, texts, message):
    texts = texts(Shapes('val', num_images=1).metainfo['classes']) if callable(texts) else texts
    with pytest.raises(UsageError, match=message):
        run_main(config_path(SHAPES), '--images', '4', '--texts', *texts)


def test_too_few_images_are_refused(run_main, config_path):
    with pytest.raises(UsageError, match='1 images have annotated objects: give two or more'):
        run_main(config_path(SHAPES), '--images', '1')


def test_real_data_and_a_real_teacher(run_tool, config_path, data_root, teacher_root):
    roots = dict(LFI_DATA_ROOT=str(data_root('coco').parent), LFI_TEACHER_ROOT=str(teacher_root))
    out = run_tool(
        'pseudo-label --evaluate',
        config_path('teachers/lit-lite0_coco.py'),
        '--images',
        '24',
        '--min-score',
        '0',
        **roots,
    )
    labels = tables(out)['labels']
    assert labels['own']['mean IoU'] > labels['centre, own presence']['mean IoU']
