"""`lfi teachers`, as a user runs it on a few models."""

import csv
from functools import partial

import open_clip
import pytest
from lfi.errors import UsageError
from lfi.evaluation.teachers import open_clip_models

ONE_OF_EACH_FAMILY = {
    'ViT-B-32': 'clearclip',
    'EVA02-B-16': 'clearclip',
    'MobileCLIP-B': 'clearclip',
    'RN50': 'maskclip',
    'ViT-B-32-SigLIP2-256': 'maskclip',
    'PE-Core-T-16-384': 'maskclip',
    'ViTamin-S': 'dense',
    'ViT-L-14-CLIPA': 'dense',
    'MobileCLIP2-S0': 'dense',
    'convnext_base': 'dense',
    'coca_ViT-B-32': 'coca',
}


@pytest.fixture
def call(call_tool):
    return partial(call_tool, 'teachers')


def test_a_family_as_a_table_and_a_file(run_tool, tmp_path):
    out = run_tool('teachers', '--family', 'pe-core', '--csv', 'new/teachers.csv', '--parameters')
    with (tmp_path / 'new/teachers.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['model'] for row in rows] == [m for m, _ in open_clip.list_pretrained() if m[:2] == 'PE']
    tiny = next(row for row in rows if row['model'] == 'PE-Core-T-16-384')
    assert (tiny['tag'], tiny['family'], tiny['text width'], tiny['input px']) == (
        'meta',
        'PE-Core',
        '512',
        '384',
    )
    assert tiny['extractors'].split(', ')[0] == 'maskclip' and tiny['tokenizer from a hub'] == ''
    assert 6 < float(tiny['image tower, M parameters']) < 6.5
    assert all(row['model'] in out for row in rows)


def test_every_tag_has_a_row(call):
    out = call('--markdown')
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in out.splitlines()]
    assert [tuple(row[:2]) for row in rows[2:]] == sorted(
        open_clip.list_pretrained(),
        key=lambda pair: list(dict(open_clip.list_pretrained())).index(pair[0]),
    )
    by_model = {row[0]: row for row in rows}
    assert by_model['ViT-B-16-SigLIP'][-1] == 'timm/ViT-B-16-SigLIP'
    assert by_model['roberta-ViT-B-32'][-1] == 'roberta-base'


def test_models_by_a_pattern(call):
    out = call('--model', 'rn50*', '--markdown')
    assert {line.split(' | ')[2] for line in out.splitlines()[2:]} == {'ResNet (attention pool)'}


def test_a_pattern_that_fits_nothing_is_refused(call):
    message = r"no model of open_clip fits family=None and model='nothing'; families: \['CLIP ViT'"
    with pytest.raises(UsageError, match=message):
        call('--model', 'nothing')


def test_the_check_writes_no_table(tool_arguments, capsys):
    with pytest.raises(SystemExit):
        tool_arguments('teachers', '--check', '--csv', 'teachers.csv')
    assert '--check writes no table: leave out --csv, --markdown and --para' in capsys.readouterr().err


@pytest.mark.parametrize('model', ONE_OF_EACH_FAMILY)
def test_one_of_each_family_is_read(model):
    names = open_clip_models.check(model)
    assert names[0] == ONE_OF_EACH_FAMILY[model]
    assert 'legrad' not in names


def test_the_check_prints_and_ends_as_it_found(call, monkeypatch, capsys):
    monkeypatch.setattr(open_clip_models, 'check', lambda model: ['maskclip', 'dense'])
    with pytest.raises(SystemExit) as ended:
        call('--check', '--model', 'PE-Core-[TS]*')
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert 'PE-Core-T-16-384: ok (maskclip, dense)' in out and out.endswith('2 of 2 tags\n')


def test_a_model_that_fails_is_named_and_the_others_go_on(call, monkeypatch, capsys):
    def check(model):
        if model == 'RN50':
            raise ValueError('misread')
        return ['dense']

    monkeypatch.setattr(open_clip_models, 'check', check)
    with pytest.raises(SystemExit) as ended:
        call('--check', '--model', 'RN50*')
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert 'RN50: failed: ValueError: misread' in out and 'RN50x4: ok (dense)' in out
    total = sum(model.startswith('RN50') for model, _ in open_clip.list_pretrained())
    assert out.endswith(f'{total - 3} of {total} tags\n')


def test_a_family_that_says_too_much_fails(monkeypatch):
    family = open_clip_models.family_of

    def say(*extractors):
        monkeypatch.setattr(
            open_clip_models, 'family_of', lambda config: type(family(config))('x', 'mean', extractors)
        )

    monkeypatch.setattr(
        open_clip_models, 'family_of', lambda config: type(family(config))('x', 'mean', ('dense',))
    )
    with pytest.raises(ValueError, match='the pool is not mean'):
        open_clip_models.check('PE-Core-T-16-384')
    monkeypatch.setattr(
        open_clip_models, 'family_of', lambda config: type(family(config))('x', 'mean', ('clearclip',))
    )
    with pytest.raises(ValueError, match='ClearCLIPExtractor reads the blocks of a transformer'):
        open_clip_models.check('MobileCLIP2-S0')
