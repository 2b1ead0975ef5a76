"""model-index.yml and the metafiles, which MIM and mmengine.hub read, are those of write_metafiles.py."""

import csv
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from lfi.errors import UsageError

from research.studies import Cell, Run
from research.studies.domains import DomainStudy
from research.studies.presets import PRESETS
from research.studies.published import FOLDER, write_study

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def models():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    metafiles = [yaml.safe_load((ROOT / path).read_text()) for path in index['Import']]
    assert [c['Name'] for metafile in metafiles for c in metafile.get('Collections', [])] == ['LFI']
    return [model for metafile in metafiles for model in metafile['Models']]


@pytest.fixture
def tool(import_tool):
    return import_tool('dev/write_metafiles.py')


def test_every_config_that_trains_is_there_once(models, tool):
    assert Counter(model['Config'] for model in models) == Counter(tool.configs())
    assert {model['In Collection'] for model in models} == {'LFI'}


def test_accuracies_are_the_studies_own(models, tool):
    published = tool.read_results()
    # Tuning has seeds and schedules of its own, and is no result of a model.
    studies = [path for path in (ROOT / FOLDER).glob('*.csv') if not path.stem.endswith('-tuning')]
    assert bool(published) == bool(studies)
    for model in models:
        found = {result['Dataset']: result['Metrics'] for result in model['Results'] if result['Metrics']}
        assert found == published.get(model['Config'], {}), 'run tools/dev/write_metafiles.py again'


def test_accuracies_are_of_studies_that_train_as_the_config_says(tool):
    studies = {study for results in tool.read_results().values() for study in results}
    assert 'study shapes, test images' in studies
    assert not [study for study in studies if re.search('few|none|pretraining|tuning|long|plain', study)]


def test_an_ablation_is_no_result_of_the_config_that_it_changes(tool):
    with (ROOT / FOLDER / 'shapes.csv').open(newline='') as file:
        tests = [float(row['test']) for row in csv.DictReader(file) if row['arm'] == 'lfi' and row['test']]
    found = tool.read_results()['configs/classification/lfi_vit-128x6-p8_shapes.py']
    assert found['study shapes, test images']['top-1'].startswith(f'{sum(tests) / len(tests):.1f} ')


@pytest.mark.parametrize('name', ['dense-features', 'lightly-train-v3', 'logit-kd'])
def test_a_baseline_by_options_is_a_result_of_the_config_that_says_the_same(name, tool):
    (arm,) = (arm for arm in PRESETS['shapes'].arms if arm.name == name)
    config = f'configs/baselines/{name}_vit-128x6-p8_shapes.py'
    assert tool._config_trained_by(arm) == config
    assert 'study shapes, test images' in tool.read_results()[config]
    (weight,) = (option.partition('=')[0] for option in arm.options if '.loss_weight=' in option)
    other = replace(arm, options=(*arm.options, f'{weight}=3'))
    assert tool._config_trained_by(other) is None


@pytest.mark.parametrize(
    ('domains', 'told'), [(['photo'], 1), (['photo', 'photo'], 2), (['photo', 'sketch'], 0)]
)
def test_a_study_of_domains_may_be_published_in_part(domains, told, tool, monkeypatch, tmp_path):
    preset, run = PRESETS['dg-pacs'], Run('arm', (1.0,), 1.0, {})
    # Each arm has left out one domain; arms that share none have no mean. A control is no result of a config.
    arms = [arm for arm in preset.arms if not arm.options]
    cells = {arm.name: [Cell(0, run, 20.0, 'a CPU', domain=domain)] for arm, domain in zip(arms, domains)}
    (tmp_path / FOLDER).mkdir(parents=True)
    write_study(DomainStudy(cells), tmp_path / FOLDER / 'dg-pacs.json')
    monkeypatch.setattr(tool, 'ROOT', tmp_path)
    found = {'study dg, each domain left out': {'domain/mean': '20.0, n=1'}}
    assert tool.read_results() == {arm.config: found for arm in arms[:told]}


def test_the_zoo_has_a_row_for_each(models):
    page = (ROOT / 'docs/model_zoo.md').read_text()
    for model in models:
        assert page.count(f'](../{model["Config"]}) |') == 1


def test_without_mmsegmentation_nothing_is_written(tool, monkeypatch):
    monkeypatch.setattr('sys.argv', ['write_metafiles.py'])
    monkeypatch.setattr(tool, 'find_spec', lambda name: None)
    with pytest.raises(UsageError, match=r'lfi\[segmentation\]'):
        tool.main()


def test_what_is_counted(tool):
    entry = tool.read_entry('configs/baselines/dense-features_vit-128x6-p8_shapes.py', {})
    baseline = tool.read_entry('configs/baselines/task-loss_vit-128x6-p8_shapes.py', {})
    # The projection into the teacher's space is for training alone.
    assert entry.parameters == baseline.parameters
    assert (entry.data, entry.epochs, entry.size) == ('built-in Shapes', 10, (64, 64))
    # 64 patches in 6 blocks, whose FFN is twice as wide as the rest; the stem is about a quarter more.
    blocks = 2 * 6 * 64 * (4 * 128**2 + 2 * 128 * 256)
    assert blocks < entry.flops < 1.4 * blocks
