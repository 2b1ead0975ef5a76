"""`tools/test.py` with the configs that measure where a student looks."""

import json
import re

import pytest
import torch
from lfi.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.distributed.elastic.utils.distributed import get_free_port

CLASSIFIER = 'evaluation/lfi_vit-128x6-p8_shapes_semantic-consistency.py'
DETECTOR = 'evaluation/lfi_mask-rcnn_vit-128x6-p8_shapes_semantic-consistency.py'
LOCATED = ('pointing', 'energy', 'average_precision', 'iou')
PRESENCE = ('average_precision', 'brier', 'calibration_error')
COMPARED = {
    **dict.fromkeys(LOCATED, ('uniform', 'centre', 'teacher')),
    **dict.fromkeys(('teacher_spearman', 'teacher_nss', 'teacher_kl'), ('uniform', 'centre')),
    **dict.fromkeys(('layers', 'flip'), ('other_image',)),
    'between_concepts': ('teacher',),
    **{f'presence_{name}': ('frequency', 'teacher') for name in ('recall', *PRESENCE)},
    'presence_fitted_calibration_error': ('teacher',),
}
# Of a classifier, whose images are labelled with one of what they show.
BESIDE_LABELS = {
    **{f'unlabelled_{name}': COMPARED[name] for name in (*LOCATED, 'presence_average_precision')},
    'presence_top1': ('frequency', 'teacher'),
}


@pytest.fixture
def checkpoint(config_path, tmp_path):
    """A file of a config's student as it is before training."""

    def save(config):
        cfg = Config.fromfile(config_path(config))
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        path = tmp_path / 'student.pth'
        torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)
        return path

    return save


def options(num_images):
    return (
        *('--out', 'metrics.json', '--out-item', 'metrics', '--cfg-options'),
        f'test_dataloader.dataset.num_images={num_images}',
        'test_dataloader.batch_size=8',
        'test_dataloader.num_workers=0',
    )


def check(output, metrics, compared):
    found = {name.removeprefix('semantic/'): value for name, value in metrics.items() if 'semantic/' in name}
    # Precision has no entry where nothing is found.
    found = {name: value for name, value in found.items() if not name.startswith('presence_precision')}
    names = {
        name for measure, ends in compared.items() for name in (measure, *(f'{measure}_{e}' for e in ends))
    }
    assert found.keys() == names | {'concepts'}
    # The table has a row for each measure, with chance and the teacher beside it.
    rows = dict(re.findall(r'^\| (\w+) (\|.*)$', output, re.MULTILINE))
    assert rows.keys() - {'presence_precision'} == compared.keys() | {'measure'}
    for measure, ends in compared.items():
        cells = [cell.strip() for cell in rows[measure].split('|') if cell.strip()]
        assert cells == [f'{found[name]:.3f}' for name in (measure, *(f'{measure}_{e}' for e in ends))]


def test_a_classifier_in_one_process_and_in_two(run_tool, config_path, checkpoint, tmp_path):
    config, weights = config_path(CLASSIFIER), checkpoint(CLASSIFIER)
    output = run_tool('test.py', config, weights, *options(24))
    alone = json.loads((tmp_path / 'metrics.json').read_text())
    check(output, alone, {**COMPARED, **BESIDE_LABELS})
    assert 'accuracy/top1' in alone
    assert alone['semantic/concepts'] > 24

    run_tool('dist_test.sh', config, weights, 2, *options(24), PORT=str(get_free_port()))
    shared = json.loads((tmp_path / 'metrics.json').read_text())
    # Each process has its own image before.
    same = [name for name in alone if not name.endswith('other_image')]
    assert [shared[name] for name in same] == pytest.approx([alone[name] for name in same], abs=1e-5)


def test_a_detector(run_tool, config_path, checkpoint, tmp_path):
    output = run_tool('test.py', config_path(DETECTOR), checkpoint(DETECTOR), *options(4))
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    check(output, metrics, COMPARED)
    assert 'coco/segm_mAP' in metrics


def test_what_cannot_answer_is_an_error_of_one_line(run_tool, config_path, checkpoint):
    weights = checkpoint(CLASSIFIER)
    state = torch.load(weights)['state_dict']
    del state['readout.text_centre']
    torch.save(state, weights)
    output = run_tool('test.py', config_path(CLASSIFIER), weights, *options(8), code=1)
    assert 'Traceback' not in output
    error = output.splitlines()[-1]
    assert re.match(r'error: the checkpoint does not fit .*: \d+ parameters .* readout\.text_centre\.', error)
