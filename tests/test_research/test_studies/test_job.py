"""One cell of a study, and what is run for it."""

from pathlib import Path

import pytest
from lfi.errors import UsageError
from study_cells import DOMAINS

from research.studies.arms import NO_INTERACTIONS
from research.studies.grid import plan
from research.studies.job import batch_options, best_checkpoint, read_config
from research.studies.launcher import Launcher
from research.studies.presets import PRESETS, domain_arm, leave_one_out


@pytest.mark.parametrize(('gpus', 'batch'), [(None, 16), (8, 2), (3, None)])
def test_the_whole_batch_is_the_one_that_the_learning_rate_is_for(tmp_path, gpus, batch):
    job = plan(PRESETS['shapes'], [0], [], tmp_path)[0]
    if batch is None:
        with pytest.raises(UsageError, match='--gpus 3 does not divide the batch of 16'):
            batch_options(job, job.config(), gpus or 1)
    else:
        assert batch_options(job, job.config(), gpus or 1) == [f'train_dataloader.batch_size={batch}']
    job = plan(PRESETS['shapes'], [0], ['train_dataloader.batch_size=5'], tmp_path)[0]
    assert batch_options(job, job.config(), gpus or 1) == []


def test_the_domain_of_the_environment_is_left_as_it_was(monkeypatch):
    config = 'configs/baselines/task-loss_vit-128x6-p8_shapes-domains.py'
    monkeypatch.setenv('LFI_TARGET_DOMAIN', 'cartoon')
    assert read_config(config, domain='photo').target_domain == 'photo'
    assert read_config(config).target_domain == 'sketch'
    monkeypatch.delenv('LFI_TARGET_DOMAIN')
    read_config(config, domain='photo')
    assert read_config(config).target_domain == 'sketch'


def test_an_option_that_cannot_be_read_ends_in_one_line(capsys):
    with pytest.raises(SystemExit, match='2'):
        read_config('configs/baselines/task-loss_vit-128x6-p8_shapes.py', ['foo'])
    said = capsys.readouterr().err
    assert '--cfg-options takes KEY=VALUE pairs, got foo' in said and said.count('\n') == 1


def test_a_cell_has_spent_what_the_training_before_it_spent_on_the_teacher(tmp_path, monkeypatch):
    monkeypatch.setattr('research.studies.job.read_seconds', lambda clock: 7.0)
    jobs = {job.arm.name: job for job in plan(PRESETS['shapes-pretraining'], [0], [], tmp_path)}
    assert jobs['lfi'].cache is None and jobs['lfi'].start.cache
    assert jobs['lfi'].teacher_seconds() == jobs['lfi'].start.teacher_seconds() == 7.0
    assert plan(PRESETS['shapes'], [0], [], tmp_path)[0].teacher_seconds() == 0.0


def test_a_cached_cell_has_another_identity(tmp_path):
    job = next(job for job in plan(PRESETS['shapes'], [0], [], tmp_path) if job.arm.name == 'lfi')
    moved = next(job for job in plan(PRESETS['shapes'], [0], [], tmp_path / 'x') if job.arm.name == 'lfi')
    assert moved.identity == job.identity
    job = plan(DOMAINS, [0], [], tmp_path)[1]
    online = leave_one_out('Shapes', (*DOMAINS.arms[:1], domain_arm(DOMAINS.arms[1].config)))
    assert plan(online, [0], [], tmp_path)[1].identity != job.identity


def test_each_test_has_its_own_metrics(tmp_path):
    job = plan(PRESETS['zero-shot'], [0], [], tmp_path)[1]
    tests = list(job.test_commands(Launcher(python='python'), Path('x.pth')))
    assert [(name, file) for name, file, _ in tests] == [
        (f'{name}/', job.folder / f'test/{name}/metrics.json') for name in ('pacs', 'vlcs')
    ]
    assert tests[0][2][:2] == ['python', 'tools/test.py']


def test_a_test_by_another_config_has_no_settings_of_training(tmp_path):
    option = 'model.supervision.logit_kd.temperature=3'
    jobs = {job.arm.name: job for job in plan(PRESETS['tiny-small'], [0], [option], tmp_path)}
    alone = {'model.teacher.cache', *(typed.split('=')[0] for typed in NO_INTERACTIONS)}
    for name in ('logit-kd', 'feature-mse'):
        ((_, _, command),) = jobs[name].test_commands(Launcher(python='python'), Path('x.pth'))
        options = command[command.index('--cfg-options') + 1 :]
        left = alone & {typed.split('=')[0] for typed in options}
        # Its own config has them.
        assert left == (set() if jobs[name].arm.test_config else alone)
        # Weights of its part are in the checkpoint.
        assert {'randomness.seed=0', option} <= {*options}


def test_the_best_checkpoint_is_the_latest_kept(tmp_path):
    with pytest.raises(
        UsageError, match='no best checkpoint: the config needs default_hooks.checkpoint.save_best'
    ):
        best_checkpoint(tmp_path)
    for epoch in (9, 10):
        (tmp_path / f'best_domain_mean_epoch_{epoch}.pth').touch()
    assert best_checkpoint(tmp_path).name == 'best_domain_mean_epoch_10.pth'


def test_a_cell_begins_with_the_backbone_of_the_one_before(tmp_path):
    jobs = plan(PRESETS['shapes-pretraining'], [3], ['train_cfg.val_interval=2'], tmp_path)
    control, lfi = (job for job in jobs if job.arm.name in ('other-image', 'lfi'))
    start = lfi.start
    assert start.folder == tmp_path / 'start/lfi/seed-3' and start.cache == control.start.cache
    assert start.config().randomness.seed == 3 and start.config().train_cfg.val_interval == 2
    command = lfi.train_command(Launcher(python='python'), lfi.config())
    name = 'model.backbone.init_cfg'
    options = [typed for typed in command if typed.startswith(name)]
    last = start.folder / f'epoch_{start.config().train_cfg.max_epochs}.pth'
    assert options == [f'{name}.type=Pretrained', f'{name}.checkpoint={last}', f'{name}.prefix=backbone.']
    # Alike but for what comes before, and a test needs no start.
    assert lfi.config().to_dict() == control.config().to_dict() and lfi.identity != control.identity
    ((_, _, command),) = lfi.test_commands(Launcher(python='python'), Path('x.pth'))
    assert not any(typed.startswith(name) for typed in command)
    assert plan(PRESETS['shapes'], [3], [], tmp_path)[0].start is None
