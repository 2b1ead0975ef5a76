"""From the cells of a study to its tables."""

import shutil
import subprocess
from dataclasses import replace

import pytest
from study_cells import DOMAINS, finish

from research.studies.arms import build_arm
from research.studies.domains import read_domain_cells
from research.studies.grid import plan
from research.studies.launcher import Launcher
from research.studies.presets import PRESETS, Preset, domain_arm, leave_one_out
from research.studies.published import FOLDER, PAGE
from research.studies.reproduce import Request, collect, commands, report, reproduce
from research.studies.settings_digest import ROOTS


def test_a_student_is_tested_on_other_data(tmp_path):
    presence, _, lfi = plan(PRESETS['zero-shot'], [0], [], tmp_path)
    assert (presence.cache, lfi.cache) == (tmp_path / 'maps', tmp_path / 'maps')
    finish(lfi, **{'pacs/domain/mean': 20.0, 'vlcs/domain/mean': 30.0})
    study = collect(PRESETS['zero-shot'], [presence, lfi], 'vlcs/domain/mean', {})
    (cell,) = study.cells['lfi']
    assert (cell.test, cell.run.accuracy, cell.teacher_seconds) == (30.0, (8.0,), 7.0)
    assert study.table().startswith('| arm | seeds | vlcs/domain/mean, test |')


def test_what_a_training_before_has_learnt_is_not_told_by_the_schedule_of_this_one(tmp_path):
    preset = PRESETS['shapes-pretraining']
    jobs = plan(preset, [0], [], tmp_path)
    for job in jobs:
        finish(job, **dict.fromkeys(preset.metrics, 50.0))
    text = report(preset, {metric: collect(preset, jobs, metric, {}) for metric in preset.metrics}, {})
    assert 'How much sooner' not in text
    titles = [line.split(' | ')[2:] for line in text.splitlines() if line.startswith('| arm')]
    gains = ['minus task-loss', 'lfi minus it']
    assert titles[0][:4] == ['top-1, test', *gains, 'top-1, validation']
    assert [title[0] for title in titles[1:]] == [
        'top-1 by nearest neighbours, test',
        'top-1 by a linear probe, test',
    ]
    assert all(title[1:] == [gains[0], f'{gains[1]} |'] for title in titles[1:])


def test_a_cell_whose_log_does_not_name_its_machine_is_reported(tmp_path):
    preset = PRESETS['shapes']
    jobs = [job for job in plan(preset, [0, 1], [], tmp_path) if job.arm.name == 'task-loss']
    for job, machine in zip(jobs, ('a CPU', None)):
        finish(job, machine=machine, **{'accuracy/top1': 50.0})
    text = report(preset, {'accuracy/top1': collect(preset, jobs, 'accuracy/top1', {})}, {})
    assert 'Ran on a CPU; an unknown machine.' in text


def test_a_domain_that_is_left_out_is_tested(tmp_path):
    preset = leave_one_out('', (domain_arm('configs/baselines/task-loss_vit-128x6-p8_shapes-domains.py'),))
    (job,) = plan(preset, [0], [], tmp_path, ['photo'])
    finish(job, 'domain/mean', **{'domain/photo': 20.0, 'domain/mean': 30.0})
    study = collect(preset, [job], 'domain/mean', {})
    ((cell,),) = study.cells.values()
    assert (cell.test, cell.domain, cell.epoch, cell.run.best) == (20.0, 'photo', 1, 8.0)


@pytest.mark.parametrize(
    'seeds, wanted',
    [(None, [('task-loss', 0), ('lfi', 0), ('task-loss', 1)]), ([1], [('task-loss', 1), ('lfi', 1)])],
)
def test_an_arm_may_have_fewer_seeds_than_its_study(seeds, wanted, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr('research.studies.reproduce.Grid.run', lambda self, todo: ran.extend(todo))
    monkeypatch.setattr('research.studies.reproduce._write', lambda *args: '')
    task, lfi = (build_arm(name, 'vit-128x6-p8_shapes') for name in ('task-loss', 'lfi'))
    preset = Preset('', (task, replace(lfi, seeds=1)), seeds=(0, 1))
    reproduce('shapes', preset, Request(tmp_path, seeds=seeds))
    assert [(job.arm.name, job.seed) for job in ran] == wanted


def test_what_is_published_of_other_domains_stays(tmp_path, monkeypatch, capsys):
    for name in ROOTS:
        monkeypatch.setenv(name, str(tmp_path))
    preset = leave_one_out(
        '', (domain_arm('configs/baselines/task-loss_vit-128x6-p8_shapes-domains.py'),), seeds=(0,)
    )
    root = tmp_path
    for job in plan(preset, [0], [], tmp_path / 'out', ['photo', 'sketch']):
        finish(job, 'domain/mean', **{f'domain/{job.domain}': 20.0})
    reproduce('dg', preset, Request(tmp_path / 'out', domains=['photo', 'sketch'], publish=root))
    said = f'{root / PAGE} gets no table: add the lines <!-- reproduce: dg --> and <!-- end of dg -->'
    assert said in capsys.readouterr().out
    (root / PAGE).parent.mkdir(exist_ok=True)
    (root / PAGE).write_text('<!-- reproduce: dg -->\n<!-- end of dg -->\n')
    shutil.rmtree(tmp_path / 'out')
    reproduce('dg', preset, Request(tmp_path / 'out', domains=['photo'], publish=root))
    out = capsys.readouterr().out
    assert '1 of 1 cells are finished' in out and 'gets no table' not in out
    assert '| photo | 20.0 |' in (root / PAGE).read_text()
    cells = read_domain_cells(root / FOLDER / 'dg.json')
    assert {domain for _, _, domain in cells} == {'photo', 'sketch'}


def tool_of(line):
    """The script, or the command, of a line."""
    return line.removeprefix('python ').removeprefix('-m ').partition(' configs/')[0]


def test_the_commands_of_each_arm_are_what_one_would_type(tmp_path):
    request = Request(tmp_path, arms=['task-loss', 'other-image', 'lfi'], launcher=Launcher(python='python'))
    lines = list(commands(PRESETS['shapes-detector'], request))
    assert [line for line in lines if line.startswith('#')] == [
        *('# task-loss, seed 0', '# other-image, seed 0', '# lfi, seed 0')
    ]
    typed = [line for line in lines if line and not line.startswith('#')]
    once = ['tools/train.py', 'tools/test.py']
    # The other arm learns from the same cache.
    assert [tool_of(line) for line in typed] == [*once, 'lfi cache', *once, *once]
    assert 'model.control.type=lfi.OtherImage' in typed[3]
    assert f'{tmp_path}/lfi/seed-0/epoch_8.pth' in typed[-1]


def test_commands_begin_with_the_training_before(tmp_path):
    request = Request(tmp_path, arms=['lfi'], launcher=Launcher(python='python'))
    lines = list(commands(PRESETS['shapes-pretraining'], request))
    typed = [tool_of(line) for line in lines if line and not line.startswith('#')]
    once = ('tools/train.py', 'tools/test.py')
    assert typed == ['lfi cache', *once, *once]
    assert f'model.backbone.init_cfg.checkpoint={tmp_path}/start/lfi/seed-0/epoch_10.pth' in lines[4]


def test_commands_of_a_domain_name_it(tmp_path):
    request = Request(tmp_path, domains=['photo'], launcher=Launcher(python='python'))
    lines = [line for line in commands(PRESETS['dg-pacs'], request) if line and not line.startswith('#')]
    assert all(line.startswith('LFI_TARGET_DOMAIN=photo python ') for line in lines)


def test_a_shell_finds_the_best_checkpoint_in_any_folder(tmp_path):
    out = tmp_path / 'my runs'
    request = Request(out, arms=[DOMAINS.arms[0].name], domains=['photo'], launcher=Launcher(python='python'))
    (test,) = (line for line in commands(DOMAINS, request) if 'tools/test.py' in line)
    (job,) = plan(DOMAINS, [0], [], out, ['photo'])[:1]
    job.folder.mkdir(parents=True)
    best = job.folder / 'best_domain_mean_epoch_3.pth'
    best.touch()
    script = f'printf "%s\\n" {test.partition("python ")[2]}'
    words = subprocess.run(['bash', '-c', script], capture_output=True, text=True, check=True).stdout
    assert words.splitlines()[2] == str(best)
