"""`lfi eval-teacher` on built-in data and on real data."""

import json
import re

import pytest
from lfi.datasets import Shapes
from lfi.errors import UsageError
from picture_files import write_shapes
from PIL import Image

SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'


def rows(out, column='map'):
    """The rows by their first column of the table whose first column has this name."""
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in out.splitlines() if line[:1] == '|']
    heads = [i for i, (first, *_) in enumerate(lines) if first in ('map', 'presence', 'extractor')]
    start = next(i for i in heads if lines[i][0] == column)
    end = min((i for i in heads if i > start), default=len(lines))
    return {first: cells for first, *cells in lines[start + 2 : end]}


def mean(cell):
    return float(cell.split(' ± ')[0])


def test_a_table_json_and_pictures(run_tool, config_path, tmp_path):
    out = run_tool(
        'eval-teacher', config_path(SHAPES), '--images', '60', '--extractors', 'all', '--out', 'found'
    )
    assert re.search(r'gem is left out: .* reads the blocks of a transformer', out)
    table = rows(out)
    assert list(table) == [
        'dense, logits',
        'dense, concept_softmax',
        'chance: uniform',
        'chance: centre',
    ]
    top1, _, pointing, _, precision, speed, memory = table['dense, concept_softmax']
    assert float(top1.rstrip('%')) > 70
    # The label is one of several objects, and no class is the background.
    (by_label,) = re.findall(r'^Zero-shot top-1 of dense, among the 20 classes .*: ([\d.]+)%\.$', out, re.M)
    assert 50 < float(by_label) <= 100
    # The built-in teacher points far better than chance.
    for cell, by_chance in zip((pointing, precision), table['chance: uniform'][2:5:2]):
        assert mean(cell) > 2 * mean(by_chance)
    assert float(speed) > 0 and float(memory) > 0
    results = json.loads((tmp_path / 'found/results.json').read_text())
    assert results['images'] == 60 and results['regions'] > 60
    assert f'{100 * results["extractors"]["dense"]["label_top1"]:.1f}' == by_label
    kept = results['extractors']['dense']['maps']['concept_softmax']['pointing'][0]
    assert f'{100 * kept:.1f}' == pointing.split(' ± ')[0]
    kept = (tmp_path / 'found/table.md').read_text()
    assert rows(kept) == table and rows(kept, 'presence') == rows(out, 'presence')
    assert Image.open(tmp_path / 'found/maps.png').width > 300


def test_presence_and_a_recommendation(run_tool, config_path, tmp_path):
    out = run_tool(
        'eval-teacher', config_path(SHAPES), '--images', '100', '--pictures', '0', '--out', 'found'
    )
    found = rows(out, 'presence')
    ways = [
        'image: softmax over the bank',
        'best-location',
        'label',
        'label or image',
        'label or best-location',
        'chance: how often',
    ]
    assert list(found) == [f'dense, {way}' for way in ways]
    precision, recall, ranked, brier, calibration = found['dense, best-location']
    # Shapes has a background, which takes most of an image's own probability.
    assert found['dense, image: softmax over the bank'][:2] == ['none found', '0.0']
    assert float(precision) > 70 and 40 < float(recall) < 70
    assert float(ranked) > 4 * float(found['dense, chance: how often'][2]) > 30
    assert float(brier) < float(found['dense, image: softmax over the bank'][3])
    assert 0 < float(calibration) < 0.2
    # A label is always there, and is one of several objects.
    assert found['dense, label'][0] == '100.0' and 30 < float(found['dense, label'][1]) < 70
    assert (
        out.rstrip()
        .splitlines()[-5]
        .startswith(
            'Recommended for dense: model.supervision.interactions.reading=dict('
            "spatial_reading='concept_softmax', presence='best-location'): "
        )
    )
    reading = 'model.supervision.interactions.reading'
    assert out.endswith(f'{reading}.spatial_reading=concept_softmax {reading}.presence=best-location\n')
    results = json.loads((tmp_path / 'found/results.json').read_text())['extractors']['dense']
    assert results['presence']['image']['precision'] is None
    assert f'{results["presence"]["best-location"]["brier"]:.4f}' == brier
    recommended = results['recommended']['spatial_reading']
    ahead = results['maps']['concept_softmax']['pointing'][0] - results['maps']['logits']['pointing'][0]
    assert (recommended['choice'], recommended['second']) == ('concept_softmax', 'logits')
    assert recommended['ahead'][0] == pytest.approx(ahead)


def test_what_cannot_be_evaluated_says_why(run_tool, call_tool, config_path):
    config = config_path(SHAPES)
    with pytest.raises(UsageError, match='model.teacher: GEMExtractor reads the blocks'):
        call_tool('eval-teacher', config, '--images', '4', '--extractors', 'gem')
    with pytest.raises(UsageError, match='only 0 regions cover 0.99 to 1 of their image'):
        call_tool('eval-teacher', config, '--images', '4', '--area', '0.99', '1')
    with pytest.raises(UsageError, match='the config has no model.teacher to ask'):
        call_tool('eval-teacher', config_path('baselines/task-loss_vit-128x6-p8_shapes.py'))
    gone = ('--cfg-options', 'model.teacher.model=gone/folder', 'model.teacher.extractor=auto')
    out = run_tool('eval-teacher', config, '--images', '4', *gone, code=1)
    assert out.splitlines()[-1].startswith('error: model.teacher: teacher folder not found: gone/folder')
    assert out.rstrip().endswith(' (from --cfg-options model.teacher.model=gone/folder)')


@pytest.mark.parametrize(
    ('config', 'data', 'area'),
    [
        ('teachers/lit-lite0_coco.py', 'coco', ('0.02', '1')),
        ('classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py', 'tiny-imagenet-200', ('0', '0.5')),
    ],
)
def test_real_data_and_a_real_teacher(run_tool, config_path, data_root, teacher_root, config, data, area):
    roots = dict(LFI_DATA_ROOT=str(data_root(data).parent), LFI_TEACHER_ROOT=str(teacher_root))
    out = run_tool('eval-teacher', config_path(config), '--images', '32', '--area', *area, **roots)
    table = rows(out)
    assert float(table['dense, logits'][0].rstrip('%')) > 40
    assert mean(table['dense, logits'][4]) > mean(table['chance: uniform'][4]) + 5


def test_a_folder_of_classes_tells_how_well_a_teacher_names_them(run_tool, config_path, tmp_path):
    labels = [Shapes('val', num_images=40).get_data_info(i)['gt_label'] for i in range(40)]
    write_shapes('val', [tmp_path / f'photos/{label:02d}/{i}.png' for i, label in enumerate(labels)])
    (tmp_path / 'mine.py').write_text(f"""
_base_ = {str(config_path(SHAPES))!r}
classes = [f'{{i:02d}}' for i in range(20)]
steps = [dict(type='LoadImageFromFile')]
val_dataloader = dict(dataset=dict(
    _delete_=True, type='mmpretrain.CustomDataset', data_root='photos', classes=classes, pipeline=steps))
""")
    out = run_tool('eval-teacher', tmp_path / 'mine.py', '--pictures', '0')
    assert '40 images with labels, and neither boxes nor masks' in out
    table = rows(out, 'extractor')
    assert list(table) == ['dense', 'chance: uniform'] and table['chance: uniform'][0] == '5.0'
    assert mean(table['dense'][0]) > 50


def test_a_real_teacher_names_images_that_have_labels_alone(
    run_tool, config_path, data_root, teacher_root, tmp_path
):
    roots = dict(LFI_DATA_ROOT=str(data_root('VLCS').parent), LFI_TEACHER_ROOT=str(teacher_root))
    config = config_path('teachers/lit-lite0_vlcs.py')
    out = run_tool('eval-teacher', config, '--images', '40', '--out', 'found', **roots)
    assert '40 images with labels, and neither boxes nor masks' in out
    table = rows(out, 'extractor')
    assert mean(table['dense'][0]) > 50 and table['chance: uniform'][0] == '20.0'
    found = json.loads((tmp_path / 'found/results.json').read_text())['extractors']['dense']
    assert f'{100 * found["label_top1"]:.1f}' == table['dense'][0].split(' ± ')[0]
    assert 'maps' not in found and Image.open(tmp_path / 'found/maps.png').width > 300
