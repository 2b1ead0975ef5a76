"""`python -m research human-study` from two students to a result."""

import json
import re
from functools import partial

import pytest
import torch
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'
BASELINE = 'baselines/task-loss_vit-128x6-p8_shapes.py'
FEW = ('--images', '4', '--catch', '2', '--cfg-options', 'val_dataloader.dataset.num_images=12')


@pytest.fixture(scope='module')
def students(config_path, tmp_path_factory):
    """Checkpoints of two students that have learnt nothing."""
    folder, files = tmp_path_factory.mktemp('students'), []
    cfg = Config.fromfile(config_path(SHAPES))
    init_default_scope('mmpretrain')
    for seed in range(2):
        torch.manual_seed(seed)
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
        files.append(folder / f'student{seed}.pth')
        torch.save(dict(state_dict=model.state_dict()), files[-1])
    return files


def answer_all(key, rater, wanted):
    """What the page saves for one who knows what is what."""
    answers = {}
    for name, trial in key['trials'].items():
        side = 'left' if trial['first'] in wanted else 'right' if trial['second'] in wanted else 'tie'
        answers[name] = dict(choice=side, first_on_left=True)
    return dict(study=key['study'], rater=rater, answers=answers)


def test_from_students_to_a_result(run_tool, config_path, students, tmp_path):
    config = config_path(SHAPES)
    sources = ('--a', config, students[0], '--b', config, students[1])
    out = run_tool('research human-study', 'make', *sources, '--out', 'made/study.html', *FEW)
    assert '4 pairs of 4 images and 2 catch trials' in out
    page, key = tmp_path / 'made/study.html', json.loads((tmp_path / 'made/study.key.json').read_text())
    text = page.read_text()
    assert text.count('data:image/jpeg') == 6 * 3 and key['study'] in text
    assert key['sources'] == dict(A=f'{config}, {students[0]}', B=f'{config}, {students[1]}')
    assert len({trial['image'] for trial in key['trials'].values()}) == 6
    assert 'student' not in text and 'shapes/val' not in text

    for rater, wanted in (('anna', ('A', 'right')), ('ben', ('right',)), ('cy', ('B', 'wrong'))):
        (tmp_path / f'{rater}.json').write_text(json.dumps(answer_all(key, rater, wanted)))
    files = ('anna.json', 'ben.json', 'cy.json')
    out = run_tool(
        'research human-study', 'analyse', *files, '--key', 'made/study.key.json', '--out', 'found.json'
    )
    assert re.search(r'\| win rate of A, a tie counted half \| 75.0% \|', out)
    assert 'Left out: cy.' in out
    found = json.loads((tmp_path / 'found.json').read_text())
    assert found['results']['answers'] == 8
    assert [row['used'] for row in found['raters']] == [True, True, False]


@pytest.fixture
def run_main(call_tool):
    return partial(call_tool, 'research human-study')


def test_a_student_against_its_teacher(run_main, config_path, students, tmp_path):
    sources = ('--a', config_path(SHAPES), students[0], '--b', 'teacher')
    run_main('make', *sources, '--out', 'study.html', *FEW)
    key = json.loads((tmp_path / 'study.key.json').read_text())
    assert key['sources']['B'] == 'teacher'
    assert len(key['trials']) == 6


@pytest.fixture(scope='module')
def baseline(config_path, tmp_path_factory):
    """A checkpoint of a classifier that has learnt nothing, with the task loss alone."""
    torch.manual_seed(2)
    cfg = Config.fromfile(config_path(BASELINE))
    init_default_scope('mmpretrain')
    file = tmp_path_factory.mktemp('baseline') / 'baseline.pth'
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    torch.save(dict(state_dict=model.state_dict()), file)
    return file


def test_a_student_against_a_baseline(run_main, config_path, students, baseline, tmp_path):
    config, other = config_path(SHAPES), config_path(BASELINE)
    run_main('make', '--a', config, students[0], '--b', other, baseline, '--out', 'study.html', *FEW)
    key = json.loads((tmp_path / 'study.key.json').read_text())
    assert key['sources']['B'] == f'{other}, {baseline} (class activation)'
    assert len(key['trials']) == 6
    assert 'class activation' not in (tmp_path / 'study.html').read_text()


def test_a_baseline_without_class_activation_is_refused(run_main, config_path, students, baseline, tmp_path):
    other = tmp_path / 'other.py'
    other.write_text(
        f'_base_ = {str(config_path(BASELINE))!r}\nmodel = dict(backbone=dict(interaction_layers=(1, 2)))\n'
    )
    sources = ('--a', config_path(SHAPES), students[0], '--b', other, baseline)
    with pytest.raises(UsageError, match='other.py has no maps: class activation maps need a backbone'):
        run_main('make', *sources, '--out', 'x.html', *FEW)


def test_what_cannot_be_made_says_why(run_main, config_path, students, baseline, capsys):
    config, control = config_path(SHAPES), config_path(BASELINE)
    with pytest.raises(SystemExit):
        run_main('make', '--a', config, students[0], '--b', control, '--out', 'x.html')
    assert f'--b takes CONFIG CHECKPOINT or teacher, got {control}' in capsys.readouterr().err
    with pytest.raises(
        UsageError, match='StudentImageClassifier, which has no interaction maps: give it as --b'
    ):
        run_main('make', '--a', control, baseline, '--b', 'teacher', '--out', 'x.html')
    with pytest.raises(UsageError, match=r'parameters are missing, such as readout\..* or a checkpoint with'):
        run_main('make', '--a', config, baseline, '--b', 'teacher', '--out', 'x.html')
    sources = ('--a', config, students[0], '--b', 'teacher')
    with pytest.raises(UsageError, match='--images 40 and --catch 8 need 48 .* A has 12, B 12'):
        run_main('make', *sources, '--out', 'x.html', *FEW[4:])


def test_a_key_is_never_replaced(run_main, config_path, students, tmp_path):
    (tmp_path / 'study.key.json').write_text('{}')
    sources = ('--a', config_path(SHAPES), students[0], '--b', 'teacher')
    with pytest.raises(UsageError, match=r'study\.key\.json exists'):
        run_main('make', *sources, '--out', 'study.html', *FEW)
    assert (tmp_path / 'study.key.json').read_text() == '{}'


def test_sources_that_see_other_images_are_refused(run_main, config_path, students, tmp_path):
    other = tmp_path / 'other.py'
    other.write_text(f'_base_ = {str(config_path(SHAPES))!r}\nval_dataloader = dict(dataset=dict(seed=1))\n')
    sources = ('--a', config_path(SHAPES), students[0], '--b', other, students[1])
    with pytest.raises(UsageError, match='both configs must have the same val_dataloader.dataset'):
        run_main('make', *sources, '--out', 'x.html', *FEW)


def test_answers_that_cannot_be_analysed_say_why(run_main, tmp_path, capsys):
    with pytest.raises(UsageError, match='missing.key.json cannot be read'):
        run_main('analyse', 'anna.json', '--key', 'missing.key.json')
    with pytest.raises(SystemExit):
        run_main('analyse', 'anna.json', '--key', 'missing.key.json', '--least-catch', '80')
    assert '--least-catch 80.0 must be from 0 to 1' in capsys.readouterr().err
