import json
import os
import re
import shlex
import socket
import sys
from importlib import import_module

import lfi.studies
import pytest
from lfi.engine.launch import UsageError
from lfi.studies import Cell, Run, read_cells
from lfi.studies.settings_digest import ROOTS

SMALL = [
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.num_images=64',
    'train_dataloader.batch_size=32',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.dataset.num_images=40',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1',
]


@pytest.fixture
def reproduce(run_tool, tmp_path):
    def run(*args, **kwargs):
        return run_tool(
            'reproduce.py', 'shapes', '--out', tmp_path / 'out', *args, '--cfg-options', *SMALL, **kwargs
        )

    return run


def test_a_study_goes_on_where_it_was_stopped_and_publishes(reproduce, tmp_path):
    docs = tmp_path / 'docs/results'
    docs.mkdir(parents=True)
    marks = 'before\n<!-- reproduce: shapes -->\nstale\n<!-- end of shapes -->\nafter\n'
    (docs.parent / 'results.md').write_text(marks)
    (tmp_path / 'README.md').write_text(marks)
    arms = ['--arms', 'task-loss', 'lfi', '--seeds', '0']
    out = reproduce(*arms, '--jobs', '2', '--publish', docs.parent)
    assert '0 of 2 cells are finished' in out
    assert re.search(r'^\| lfi \| 1 \| [\d.]+ \|', out, re.M)
    first = (tmp_path / 'out/lfi/seed-0/cell.json').stat().st_mtime_ns
    for path in (docs.parent / 'results.md', tmp_path / 'README.md'):
        text = path.read_text()
        assert text.startswith('before\n')
        assert text.endswith('after\n')
        assert '| task-loss | 1 |' in text
        assert 'stale' not in text
    assert (tmp_path / 'out/results.png').read_bytes().startswith(b'\x89PNG')
    assert (tmp_path / 'out/results.csv').read_text().count('\n') == 1 + 2

    (tmp_path / 'out/task-loss/seed-0/cell.json').unlink()
    out = reproduce(*arms)
    assert '1 of 2 cells are finished' in out
    assert (tmp_path / 'out/lfi/seed-0/cell.json').stat().st_mtime_ns == first


def test_a_student_is_tested_on_other_data(import_tool, tmp_path):
    tool, presets = import_tool('reproduce.py'), import_module('lfi.studies.presets')
    text_class, lfi = tool.plan(presets.PRESETS['zero-shot'], [0], [], tmp_path)
    assert (text_class.cache, lfi.cache) == (tmp_path / 'maps', tmp_path / 'maps')
    lfi.folder.mkdir(parents=True)
    test = {'pacs/domain/mean': 20.0, 'vlcs/domain/mean': 30.0}
    lfi.mark.write(test=test, machine='a CPU', teacher_seconds=7.0)
    log = lfi.folder / '1/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 1.0, "epoch": 1, "step": 5, "time": 0.1}\n{"accuracy/top1": 8.0, "step": 1}\n')
    study = tool.collect(presets.PRESETS['zero-shot'], [text_class, lfi], 'vlcs/domain/mean', {})
    (cell,) = study.cells['lfi']
    assert (cell.test, cell.run.accuracy, cell.teacher_seconds) == (30.0, (8.0,), 7.0)
    assert study.table().startswith('| arm | seeds | vlcs/domain/mean, test |')


def test_a_short_schedule_is_a_cell_of_its_own(import_tool, tmp_path):
    tool, presets = import_tool('reproduce.py'), import_module('lfi.studies.presets')
    jobs = tool.plan(presets.PRESETS['shapes'], [0], [], tmp_path)
    short = {job.arm.name: job for job in jobs if job.arm.epochs}
    assert list(short) == ['lfi in 5 epochs', 'lfi in 8 epochs']
    cfg = short['lfi in 5 epochs'].config()
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == 5


def test_a_cache_is_of_its_arms_own_teacher(import_tool, tmp_path):
    tool, presets = import_tool('reproduce.py'), import_module('lfi.studies.presets')
    preset = presets.PRESETS['tiny-small-variants']
    jobs = tool.plan(preset, preset.seeds, [], tmp_path)
    assert {job.seed for job in jobs} == {100}
    extra = {
        job.arm.cache: {'extra' in option for option in job.arm.options} for job in jobs if job.arm.options
    }
    assert extra['maps'] == {False}
    assert True in extra['maps-and-coco']


@pytest.mark.parametrize('study', ['shapes-local', 'tiny-small-local'])
def test_all_students_of_a_study_begin_alike(import_tool, tmp_path, study):
    tool, presets = import_tool('reproduce.py'), import_module('lfi.studies.presets')
    jobs = tool.plan(presets.PRESETS[study], [0], [], tmp_path)
    assert [job.arm.name for job in jobs if job.config().model.backbone.get('num_queries') == 0] == [
        'task-loss'
    ]
    for job in jobs:
        backbone = job.config().model.backbone
        assert backbone.type == 'lfi.InteractionQueryViT'
        assert backbone.init_cfg.type == 'lfi.MimeticInit'


def test_a_cell_of_another_config_is_refused(reproduce, tmp_path):
    folder = tmp_path / 'out/task-loss/seed-0'
    folder.mkdir(parents=True)
    # It was stopped before it was finished.
    (folder / 'cell.json').write_text(json.dumps(dict(identity='other')))
    out = reproduce('--arms', 'task-loss', '--seeds', '0', code=1)
    assert f'{folder} was started with other settings' in out


@pytest.fixture
def study(import_tool, monkeypatch, tmp_path, capsys):
    """The study shapes without trainings: cells as if they had been run, published or in their folders."""
    tool, presets = import_tool('reproduce.py'), import_module('lfi.studies.presets')
    preset, docs = presets.PRESETS['shapes'], tmp_path / 'docs'
    # The tool makes them absolute; afterwards they are as they were.
    for name in ROOTS:
        monkeypatch.setenv(name, os.environ.get(name, 'data'))
    (docs / 'results').mkdir(parents=True)

    class Study:
        file = docs / 'results/shapes.csv'

        def publish(self, **seeds):
            jobs = tool.plan(preset, range(4), [], tmp_path / 'out')
            cells = {
                arm: [
                    Cell(j.seed, Run(arm, (9.0, 5.0 + j.seed), 1.0, {}), 5.0 + j.seed, 'a CPU', j.identity)
                    for j in jobs
                    if (j.arm.name, j.seed) in {(arm, seed) for seed in wanted}
                ]
                for arm, wanted in seeds.items()
            }
            lfi.studies.Study(cells, 'lfi').write_csv(self.file)

        def run(self, *args):
            arguments = ['reproduce.py', 'shapes', '--publish', str(docs), '--out', str(tmp_path / 'out')]
            monkeypatch.setattr(sys, 'argv', [*arguments, *args])
            tool.main()
            return capsys.readouterr().out

        def cells(self):
            return set(read_cells(self.file, 'top-1'))

    return Study()


def test_published_cells_of_other_seeds_stay(study):
    study.publish(**{'task-loss': [0, 3], 'lfi': [0, 3]})
    out = study.run('--seeds', '3', '3', '--arms', 'task-loss', 'lfi')
    assert '2 of 2 cells are finished' in out
    assert study.cells() == {(arm, seed) for arm in ('task-loss', 'lfi') for seed in (0, 3)}


def test_published_cells_of_other_settings_are_named(study):
    study.publish(**{'task-loss': [0], 'lfi': [0], 'queries': [0]})
    whole = study.file.read_text().splitlines()
    study.file.write_text('\n'.join([*whole[:-1], f'{whole[-1]}x']) + '\n')
    out = study.run('--seeds', '0', '--arms', 'task-loss', 'lfi')
    assert 'queries, seed 0: what is published was run with other settings, and is left out' in out
    assert study.cells() == {('task-loss', 0), ('lfi', 0)}


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
    with pytest.raises(UsageError, match='the baseline task-loss has no result: name it among --arms'):
        study.run('--seeds', '0', '--arms', 'lfi')


@pytest.mark.parametrize(('gpus', 'batch'), [(None, 64), (8, 8), (3, None)])
def test_the_whole_batch_is_the_one_that_the_learning_rate_is_for(import_tool, tmp_path, gpus, batch):
    tool, presets = import_tool('reproduce.py'), import_module('lfi.studies.presets')
    job = tool.plan(presets.PRESETS['shapes'], [0], [], tmp_path)[0]
    grid = tool.Grid(tool.Launcher(gpus, None), 1)
    if batch is None:
        with pytest.raises(UsageError, match='--gpus 3 does not divide the batch of 64'):
            grid._batch(job, job.config())
    else:
        assert grid._batch(job, job.config()) == [f'train_dataloader.batch_size={batch}']
    job = tool.plan(presets.PRESETS['shapes'], [0], ['train_dataloader.batch_size=5'], tmp_path)[0]
    assert grid._batch(job, job.config()) == []


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((), 'name a study: shapes, '),
        (('shapes', '--arms', 'magic'), '--arms magic: shapes has task-loss, queries'),
        (('shapes', '--slurm', 'gpu'), '--slurm needs --gpus'),
        (('shapes', '--jobs', '0'), '--jobs 0: give 1 or more'),
        (('dg', '--arms', 'lfi'), '--arms: the study dg runs here'),
    ],
)
def test_arguments_are_checked_at_once(import_tool, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', *arguments])
    with pytest.raises(SystemExit, match='2'):
        import_tool('reproduce.py').parse_args()
    assert words in capsys.readouterr().err


def test_the_studies_are_listed(run_tool):
    out = run_tool('reproduce.py', '--list')
    assert re.search(r'^shapes: Embedded Shapes', out, re.M)
    assert re.search(r'^dg: ', out, re.M)


def test_launchers(import_tool, tmp_path):
    tool = import_tool('reproduce.py')
    folder = tmp_path / 'arm/seed-0'
    plain = tool.Launcher(None, None).command('train', 'a.py', folder)
    assert plain[1:] == ['tools/train.py', 'a.py', '--work-dir', str(folder)]
    torchrun = tool.Launcher(8, None).command('test', 'a.py', folder, tmp_path / 'x.pth')
    assert torchrun == [
        *('bash', 'tools/dist_test.sh', 'a.py', str(tmp_path / 'x.pth'), '8', '--work-dir', str(folder))
    ]
    slurm = tool.Launcher(8, 'gpu').command('train', 'a.py', folder)
    assert slurm == ['bash', 'tools/slurm_train.sh', 'gpu', 'lfi-arm', 'a.py', str(folder)]
    slurm = tool.Launcher(8, 'gpu').command('test', 'a.py', folder, tmp_path / 'x.pth')
    assert slurm[:6] == ['bash', 'tools/slurm_test.sh', 'gpu', 'lfi-arm', 'a.py', str(tmp_path / 'x.pth')]


def test_cells_meet_at_ports_that_are_free(import_tool, monkeypatch):
    tool = import_module('lfi.studies.grid')
    monkeypatch.delenv('PORT', raising=False)
    with socket.socket() as taken:
        # Another study on this machine.
        taken.bind(('', 0))
        taken.listen()
        ports = {tool.port_for(slot) for slot in range(20)}
        assert taken.getsockname()[1] not in ports
    assert len(ports) > 1
    monkeypatch.setenv('PORT', '31000')
    assert [tool.port_for(slot) for slot in (0, 1, 1000)] == [31000, 31001, 31000]


MAPS = ('lfi', 'shuffled-images', 'shuffled-places', 'text-class')
FEATURES = ('feature', 'logit', 'attention', 'shuffled-attention')


def test_every_preset_names_configs_that_exist(import_tool, config_path):
    for configs in import_module('lfi.studies.presets').DOMAIN_STUDIES.values():
        for config in configs:
            assert config_path(config.removeprefix('configs/')).exists(), config
    for name, preset in import_module('lfi.studies.presets').PRESETS.items():
        assert preset.arms, name
        arms = [*preset.arms, *preset.short_arms]
        assert len({arm.name for arm in arms}) == len({arm.folder for arm in arms}) == len(arms)
        assert all(shlex.quote(arm.folder) == arm.folder for arm in arms), name
        for arm in preset.arms:
            assert config_path(arm.config.removeprefix('configs/')).exists(), arm.config
            assert arm.cache != 'maps' or arm.name.startswith(MAPS), arm.name
            assert arm.cache != 'features' or arm.name.startswith(FEATURES), arm.name
