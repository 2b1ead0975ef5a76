"""The cells of the studies, and what is run for each."""

import json
from pathlib import Path

import pytest
from lfi.errors import UsageError
from rich.progress import Progress
from study_cells import DOMAINS

from research.studies.grid import Grid, check_cfg_options, plan
from research.studies.job import Job, cache_clock_file
from research.studies.launcher import Launcher
from research.studies.presets import PRESETS, domain_arm, leave_one_out
from research.studies.stopwatch import read_seconds


def test_a_short_schedule_is_a_cell_of_its_own(tmp_path):
    jobs = plan(PRESETS['shapes'], [0], [], tmp_path)
    short = {job.arm.name: job for job in jobs if job.arm.epochs}
    assert list(short) == ['lfi in 4 epochs', 'lfi in 7 epochs']
    cfg = short['lfi in 4 epochs'].config()
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == 4


def test_a_cell_leaves_a_domain_out(tmp_path):
    jobs = plan(DOMAINS, [0, 7], [], tmp_path)
    assert len(jobs) == len({job.key for job in jobs}) == len({job.folder for job in jobs}) == 2 * 4 * 2
    job = next(job for job in jobs if job.domain == 'photo' and job.seed == 7 and job.cache)
    assert job.name == 'lfi_vit-128x6-p8_shapes-domains, photo left out, seed 7'
    assert job.environment == {'LFI_TARGET_DOMAIN': 'photo'}
    cfg = job.config()
    assert (cfg.target_domain, cfg.source_domains) == ('photo', ['painting', 'cartoon', 'sketch'])
    assert cfg.train_dataloader.dataset.seed == cfg.val_dataloader.dataset.seed == cfg.randomness.seed == 7
    # Another split has other training images, and so a cache of its own.
    assert job.cache == job.folder / 'cache'
    assert 'train_dataloader.dataset.seed=7' in job.cache_command(Launcher())


def test_domains_are_those_that_are_there(tmp_path):
    assert {job.domain for job in plan(DOMAINS, [0], [], tmp_path, ['cartoon'])} == {'cartoon'}
    with pytest.raises(UsageError, match='--domains woodcut: there are cartoon, painting, photo, sketch'):
        plan(DOMAINS, [0], [], tmp_path, ['woodcut'])
    plain = leave_one_out('Shapes', (domain_arm('configs/baselines/task-loss_vit-128x6-p8_shapes.py'),))
    with pytest.raises(UsageError, match='has no target_domain: it must read LFI_TARGET_DOMAIN'):
        plan(plain, [0], [], tmp_path)


def test_an_arms_own_options_win_over_those_of_all(tmp_path):
    options = ['model.backbone.write_back=none', 'train_cfg.max_epochs=2']
    jobs = plan(PRESETS['shapes'], [0], options, tmp_path)
    names = ('lfi-write-back', 'lfi in 4 epochs')
    cfgs = {job.arm.name: job.config() for job in jobs if job.arm.name in names}
    assert cfgs['lfi-write-back'].model.backbone.write_back == 'gated'
    assert [cfg.train_cfg.max_epochs for cfg in cfgs.values()] == [2, 4]


def test_options_of_the_command_win_over_those_of_the_study(tmp_path):
    option = 'test_dataloader.dataset.num_images=40'
    job = plan(PRESETS['shapes'], [0], [option], tmp_path)[0]
    ((_, _, command),) = job.test_commands(Launcher(python='python'), Path('x.pth'))
    typed = command[command.index('--cfg-options') + 1 :]
    assert [each for each in typed if each.startswith('test_dataloader.')] == [
        option,
        'test_dataloader.dataset.split=test',
    ]


def test_an_option_that_makes_an_arm_what_it_is_cannot_be_changed():
    arms = {arm.name: arm for arm in PRESETS['shapes'].arms}
    option = ['model.backbone.write_back=none']
    for key in ('model.backbone.write_back', 'model.backbone'):
        message = f"{key}: the arm '.*' sets model.backbone.* itself"
        with pytest.raises(UsageError, match=message):
            check_cfg_options(PRESETS['shapes'], arms.values(), [f'{key}=none'])
    check_cfg_options(PRESETS['shapes'], [arms['lfi']], option)


def test_an_option_that_makes_a_study_what_it_is_cannot_be_changed():
    few = PRESETS['shapes-few-10']
    seed, labels = 'randomness.seed', 'train_dataloader.few_labels.labels_per_class'
    # What has them as a part takes them away.
    for key, own in ((seed, seed), (labels, labels), ('randomness', seed), ('train_dataloader', labels)):
        with pytest.raises(UsageError, match=f'--cfg-options {key}: the study sets {own} itself'):
            check_cfg_options(few, few.arms, [f'{key}=7'])
    check_cfg_options(few, few.arms, ['random=7', 'train_dataloader.few=7'])
    # Its arms have epochs of their own, which would win without a word.
    message = "train_cfg.max_epochs: the arm 'task-loss' sets train_cfg.max_epochs itself"
    with pytest.raises(UsageError, match=message):
        check_cfg_options(few, few.arms, ['train_cfg.max_epochs=2'])
    check_cfg_options(PRESETS['shapes'], PRESETS['shapes'].arms, ['train_cfg.max_epochs=2'])


@pytest.fixture
def write_cache(tmp_path, monkeypatch):
    """Write a cell's cache as a run does, `write_cache(seconds)`; gives what its cell says that it took."""
    now = [0.0]
    monkeypatch.setattr('research.studies.stopwatch.time.perf_counter', lambda: now[0])
    job = Job(PRESETS['shapes'].arms[0], 0, tmp_path / 'cell', cache=tmp_path / 'maps')

    def run(seconds):
        def tool(*args, **kwargs):
            now[0] += seconds
            job.cache.mkdir(exist_ok=True)
            (job.cache / 'manifest.json').touch()
            return iter(())

        monkeypatch.setattr('research.studies.grid.tool_output', tool)
        Grid(Launcher(), 1)._write_cache(job, {}, Progress())
        return job.teacher_seconds()

    return run


def test_looking_through_a_cache_does_not_count(write_cache):
    assert [write_cache(60.0), write_cache(5.0)] == [60.0, 60.0]


def test_what_a_cache_took_that_another_wrote_is_not_known(write_cache, tmp_path):
    (tmp_path / 'maps').mkdir()
    (tmp_path / 'maps/manifest.json').touch()
    assert write_cache(5.0) is None


def test_a_cache_that_is_gone_has_taken_nothing(write_cache, tmp_path):
    clock = cache_clock_file(tmp_path / 'maps')
    clock.write_text(json.dumps(dict(seconds=1000.0, whole=True)))
    assert write_cache(60.0) == read_seconds(clock) == 60.0
