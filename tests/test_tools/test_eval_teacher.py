"""`tools/eval_teacher.py` on embedded data and on real data."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

SHAPES = 'classification/lfi_vit-tiny_shapes.py'


def rows(out):
    """The table's rows by their first column."""
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in out.splitlines() if line[:1] == '|']
    return {first: cells for first, *cells in lines[2:]}


def mean(cell):
    return float(cell.split(' ± ')[0])


def test_a_table_json_and_pictures(run_tool, config_path, tmp_path):
    out = run_tool(
        'eval_teacher.py', config_path(SHAPES), '--images', '60', '--extractors', 'all', '--out', 'found'
    )
    assert re.search(r'gem is left out: .* reads open_clip.s plain ViT', out)
    table = rows(out)
    assert list(table) == [
        'dense, over locations',
        'dense, over concepts',
        'chance: uniform',
        'chance: centre',
    ]
    top1, _, pointing, _, precision, speed, memory = table['dense, over concepts']
    assert float(top1.rstrip('%')) > 70
    # The embedded teacher points far better than chance.
    for cell, by_chance in zip((pointing, precision), table['chance: uniform'][2:5:2]):
        assert mean(cell) > 2 * mean(by_chance)
    assert float(speed) > 0 and float(memory) > 0
    results = json.loads((tmp_path / 'found/results.json').read_text())
    assert results['images'] == 60 and results['regions'] > 60
    kept = results['extractors']['dense']['maps']['over concepts']['pointing'][0]
    assert f'{100 * kept:.1f}' == pointing.split(' ± ')[0]
    assert rows((tmp_path / 'found/table.md').read_text()) == table
    assert Image.open(tmp_path / 'found/maps.png').width > 300


def test_where_proc_cannot_be_written_memory_is_not_counted(import_tool, monkeypatch):
    tool = import_tool('eval_teacher.py')
    written = Path.write_text

    def write(path, text, *args, **kwargs):
        if path.parts[1] == 'proc':
            raise PermissionError(f'Permission denied: {path}')
        return written(path, text, *args, **kwargs)

    monkeypatch.setattr(Path, 'write_text', write)
    memory = tool.PeakMemory(torch.device('cpu'))
    assert memory.peak() is None
    row = tool.row('dense', {}, dict(top1=1.0, confidence=1.0, images_per_second=1.0, megabytes=None))
    assert row.endswith('| 1.0 |  |')


def test_what_cannot_be_evaluated_says_why(run_tool, config_path):
    config = config_path(SHAPES)
    out = run_tool('eval_teacher.py', config, '--images', '4', '--extractors', 'gem', code=1)
    assert out.splitlines()[-1].startswith("error: GEMExtractor reads open_clip's plain ViT")
    out = run_tool('eval_teacher.py', config, '--images', '4', '--area', '0.99', '1', code=1)
    assert out.splitlines()[-1] == 'error: only 0 regions cover 0.99 to 1 of their image'
    control = config_path('baselines/task-loss_vit-tiny_shapes.py')
    out = run_tool('eval_teacher.py', control, code=1)
    assert out.splitlines()[-1] == 'error: the config has no model.teacher to ask'


@pytest.mark.parametrize(
    ('config', 'data', 'area'),
    [
        ('teachers/lit-lite0_coco.py', 'coco', ('0.02', '1')),
        ('classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py', 'tiny-imagenet-200', ('0', '0.5')),
    ],
)
def test_real_data_and_a_real_teacher(run_tool, config_path, data_root, teacher_root, config, data, area):
    roots = dict(LFI_DATA_ROOT=str(data_root(data).parent), LFI_TEACHER_ROOT=str(teacher_root))
    out = run_tool('eval_teacher.py', config_path(config), '--images', '32', '--area', *area, **roots)
    table = rows(out)
    assert float(table['dense, over locations'][0].rstrip('%')) > 40
    assert mean(table['dense, over locations'][4]) > mean(table['chance: uniform'][4]) + 5
