import json
import os
import re
import sys

import pytest
from lfi.errors import UsageError
from small_runs import SMALL

from research.studies import Cell, Run, Study, read_cells
from research.studies.grid import plan
from research.studies.localization_table import Localization, read_localization, write_localization
from research.studies.presets import PRESETS
from research.studies.settings_digest import ROOTS

ONE_EPOCH = ['train_cfg.max_epochs=1', *SMALL]


@pytest.fixture
def reproduce(run_tool, tmp_path):
    def run(*args, **kwargs):
        return run_tool(
            'research study',
            'shapes',
            '--out',
            tmp_path / 'out',
            *args,
            '--cfg-options',
            *ONE_EPOCH,
            **kwargs,
        )

    return run


def test_a_study_goes_on_where_it_was_stopped_and_publishes(reproduce, call_tool, monkeypatch, tmp_path):
    published, page = tmp_path / 'research/published', tmp_path / 'research/results.md'
    published.mkdir(parents=True)
    marks = 'before\n<!-- reproduce: shapes -->\nstale\n<!-- end of shapes -->\nafter\n'
    page.write_text(marks)
    arms = ['--arms', 'task-loss', 'lfi', '--seeds', '0']
    out = reproduce(*arms, '--jobs', '2', '--publish', tmp_path)
    assert '0 of 2 cells are finished' in out
    assert f'All arms are changed by `{" ".join(ONE_EPOCH)}`.' in out
    assert re.search(r'^\| lfi \| 1 \| [\d.]+ \|', out, re.M)
    text = page.read_text()
    assert text.startswith('before\n') and text.endswith('after\n')
    assert '| task-loss | 1 |' in text and 'stale' not in text
    assert (tmp_path / 'out/results.png').read_bytes().startswith(b'\x89PNG')
    assert (tmp_path / 'out/results.csv').read_text().count('\n') == 1 + 2
    # One test measures which and where.
    where = read_localization(published / 'shapes_localization.csv')
    assert {arm for arm, _, _ in where} == {'task-loss', 'lfi'}
    assert re.search(r'^\| \*teacher\* \| 1 \| [\d.]+ \|', out, re.M)
    assert (tmp_path / 'out/results_localization.csv').read_text() == (
        published / 'shapes_localization.csv'
    ).read_text()

    (tmp_path / 'out/lfi/seed-0/cell.json').unlink()
    ran = []
    monkeypatch.setattr('research.studies.reproduce.Grid.run', lambda self, todo: ran.extend(todo))
    options = ('--out', tmp_path / 'out', *arms, '--cfg-options', *ONE_EPOCH)
    assert '1 of 2 cells are finished' in call_tool('research study', 'shapes', *options)
    assert [job.arm.name for job in ran] == ['lfi']


def test_a_cell_of_another_config_is_refused(reproduce, tmp_path):
    folder = tmp_path / 'out/task-loss/seed-0'
    folder.mkdir(parents=True)
    # It was stopped before it was finished.
    (folder / 'cell.json').write_text(json.dumps(dict(identity='other')))
    out = reproduce('--arms', 'task-loss', '--seeds', '0', code=1)
    assert f'{folder} was started with other settings' in out


@pytest.fixture
def study(import_tool, tool_arguments, monkeypatch, tmp_path, capsys):
    """The study shapes without trainings: cells as if they had been run, published or in their folders."""
    tool = import_tool('research study')
    preset, published = PRESETS['shapes'], tmp_path / 'research/published'
    # The tool makes them absolute; afterwards they are as they were.
    for name in ROOTS:
        monkeypatch.setenv(name, os.environ.get(name, 'data'))
    published.mkdir(parents=True)

    class Published:
        file = published / 'shapes.csv'
        where = published / 'shapes_localization.csv'

        def publish(self, **seeds):
            jobs = plan(preset, range(4), [], tmp_path / 'out')
            cells = {
                arm: [
                    Cell(j.seed, Run(arm, (9.0, 5.0 + j.seed), 1.0, {}), 5.0 + j.seed, 'a CPU', j.identity)
                    for j in jobs
                    if (j.arm.name, j.seed) in {(arm, seed) for seed in wanted}
                ]
                for arm, wanted in seeds.items()
            }
            Study(cells, 'lfi').write_csv(self.file)
            values = {'pointing': 0.5, 'pointing_teacher': 0.75}
            write_localization(
                {
                    arm: [Localization(cell.seed, values, cell.identity) for cell in found]
                    for arm, found in cells.items()
                    if arm != 'queries'
                },
                self.where,
            )

        def run(self, *args):
            folders = ('--publish', tmp_path, '--out', tmp_path / 'out')
            tool.main(tool_arguments('research study', 'shapes', *folders, *args))
            return capsys.readouterr().out

        def cells(self):
            return {(arm, seed) for arm, seed, _ in read_cells(self.file, 'top-1')}

    return Published()


def test_published_cells_of_other_seeds_stay(study):
    study.publish(**{'task-loss': [0, 3], 'lfi': [0, 3]})
    out = study.run('--seeds', '3', '3', '--arms', 'task-loss', 'lfi')
    assert '2 of 2 cells are finished' in out
    assert study.cells() == {(arm, seed) for arm in ('task-loss', 'lfi') for seed in (0, 3)}


def test_where_they_look_is_read_back_from_what_is_published(study):
    study.publish(**{'task-loss': [0, 1], 'lfi': [0, 1]})
    before = study.where.read_text()
    out = study.run('--seeds', '0', '1', '--arms', 'task-loss', 'lfi')
    assert '| lfi | 2 | 50.0 ± 0.0 | – |' in out
    assert "lfi has 0.67 ± 0.00 of its teacher's pointing." in out
    assert study.where.read_text() == before


def test_a_cell_that_does_not_say_where_it_looks_is_not_finished(study, monkeypatch):
    study.publish(**{'task-loss': [0], 'lfi': [0]})
    lines = study.where.read_text().splitlines()
    study.where.write_text('\n'.join([*lines[:-1], f'{lines[-1]}x']) + '\n')
    ran = []
    monkeypatch.setattr('research.studies.reproduce.Grid.run', lambda self, todo: ran.extend(todo))
    out = study.run('--seeds', '0', '--arms', 'task-loss', 'lfi')
    assert 'lfi, seed 0: the published cell has other settings and is left out' in out
    assert [job.arm.name for job in ran] == ['lfi']
    assert {arm for arm, _, _ in read_localization(study.where)} == {'task-loss'}


def test_published_cells_of_other_settings_are_named(study):
    study.publish(**{'task-loss': [0], 'lfi': [0], 'queries': [0]})
    lines = study.file.read_text().splitlines()
    study.file.write_text('\n'.join([*lines[:-1], f'{lines[-1]}x']) + '\n')
    out = study.run('--seeds', '0', '--arms', 'task-loss', 'lfi')
    assert 'queries, seed 0: the published cell has other settings and is left out' in out
    assert study.cells() == {('task-loss', 0), ('lfi', 0)}


def test_options_replace_nothing_that_is_published(study):
    study.publish(**{'task-loss': [0], 'lfi': [0]})
    before = study.file.read_text()
    with pytest.raises(UsageError, match=r'--cfg-options train_cfg.max_epochs=2 --publish .* would replace'):
        study.run('--seeds', '0', '--arms', 'task-loss', '--cfg-options', 'train_cfg.max_epochs=2')
    assert study.file.read_text() == before


def test_what_others_publish_meanwhile_stays(study, monkeypatch):
    study.publish(**{'task-loss': [0], 'lfi': [0]})

    def run(self, todo):
        study.publish(**{'task-loss': [0, 3], 'lfi': [0, 3]})

    monkeypatch.setattr('research.studies.reproduce.Grid.run', run)
    study.run('--seeds', '0', '--arms', 'task-loss', 'queries')
    assert study.cells() == {(arm, seed) for arm in ('task-loss', 'lfi') for seed in (0, 3)}


def test_a_published_cell_needs_no_folder(study, tmp_path):
    study.publish(**{'task-loss': [0], 'lfi': [0]})
    mark = tmp_path / 'out/lfi/seed-0/cell.json'
    mark.parent.mkdir(parents=True)
    mark.write_text(json.dumps(dict(identity='other')))
    assert '2 of 2 cells are finished' in study.run('--seeds', '0', '--arms', 'task-loss', 'lfi')


def test_cells_of_other_settings_are_left_out_of_the_study(study, tmp_path):
    study.publish(**{'task-loss': [0], 'lfi': [0]})
    mark = tmp_path / 'out/queries/seed-0/cell.json'
    mark.parent.mkdir(parents=True)
    mark.write_text(json.dumps(dict(identity='other', test={'accuracy/top1': 99.0}, machine='a CPU')))
    out = study.run('--seeds', '0', '--arms', 'task-loss', 'lfi')
    assert 'queries, seed 0 is left out: ' in out
    assert '| queries |' not in out


def test_the_baseline_must_have_a_result(study):
    study.publish(**{'lfi': [0]})
    with pytest.raises(UsageError, match='the baseline task-loss has no result: add it to --arms'):
        study.run('--seeds', '0', '--arms', 'lfi')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((), 'name a study: shapes, '),
        (('shapes', '--arms', 'magic'), '--arms magic: shapes has task-loss, no-prior'),
        (('shapes', '--slurm', 'gpu'), '--slurm needs --gpus'),
        (('shapes', '--jobs', '0'), "argument --jobs: must be a whole number above 0, got '0'"),
        (('shapes', '--gpus', '-2'), "argument --gpus: must be a whole number above 0, got '-2'"),
        (('shapes', '--seeds', '-1'), "argument --seeds: must be a whole number of 0 or more, got '-1'"),
        (('shapes', '--cfg-options', 'foo'), '--cfg-options takes KEY=VALUE pairs, got foo'),
        (('shapes', '--cfg-options', 'a=[1,2'), '--cfg-options takes KEY=VALUE pairs, got a=[1,2'),
        (('dg', '--arms', 'magic'), '--arms magic: dg-pacs has task-loss_vit-128x6-p8_pacs'),
        (('shapes', '--domains', 'photo'), '--domains: shapes leaves no domain out'),
    ],
)
def test_arguments_are_checked_at_once(tool_arguments, capsys, arguments, words):
    with pytest.raises(SystemExit, match='2'):
        tool_arguments('research study', *arguments)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'folder'),
    [
        (('shapes-few-5',), 'work_dirs/reproduce/shapes-few-5'),
        (('shapes-few-5', '--out', 'here'), 'here'),
        # What has been run of a group by itself is finished.
        (('shapes-few',), 'work_dirs/reproduce/shapes-few-5'),
        (('shapes-few', '--out', 'here'), 'here/shapes-few-5'),
    ],
)
def test_a_study_of_a_group_has_the_folder_that_it_has_by_itself(import_tool, monkeypatch, arguments, folder):
    tool, ran = import_tool('research study'), {}
    monkeypatch.setattr(sys, 'argv', ['research study', *arguments])

    def reproduce(name, preset, request):
        ran[name] = str(request.out)

    monkeypatch.setattr('research.studies.reproduce.reproduce', reproduce)
    tool.main(tool.parse_args())
    assert ran['shapes-few-5'] == folder
    assert len({*ran.values()}) == len(ran) == len(tool.GROUPS.get(arguments[0], arguments[:1]))


def test_the_studies_are_listed(run_tool):
    out = run_tool('research study', '--list')
    assert re.search(r'^shapes: Built-in Shapes', out, re.M)
    assert re.search(r'^dg: dg-pacs, dg-vlcs, zero-shot$', out, re.M)


def test_printed_commands_are_commands_alone_where_roots_are_set(run_tool, monkeypatch, tmp_path):
    monkeypatch.setenv('LFI_DATA_ROOT', str(tmp_path))
    out = run_tool('research study', 'tiny-few-10', '--print-commands', '--arms', 'task-loss')
    lines = [line for line in out.splitlines() if line]
    assert lines[0] == '# task-loss, seed 0'
    assert all(line.startswith(('#', 'LFI_', 'python tools/')) for line in lines)
