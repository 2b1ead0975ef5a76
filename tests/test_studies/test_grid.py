"""The cells of the studies, and what is run for each."""

from pathlib import Path

import pytest
from lfi.errors import UsageError
from lfi.studies.grid import batch_options, best_checkpoint, keep_arms, plan, read_config
from lfi.studies.launcher import Launcher
from lfi.studies.presets import PRESETS, domain_arm, leave_one_out

DOMAINS = leave_one_out(
    'Shapes',
    (
        domain_arm('configs/baselines/task-loss_vit-tiny_shapes-domains.py'),
        domain_arm('configs/domain_generalization/lfi_vit-tiny_shapes-domains.py', cache='cache'),
    ),
)


def test_a_short_schedule_is_a_cell_of_its_own(tmp_path):
    jobs = plan(PRESETS['shapes'], [0], [], tmp_path)
    short = {job.arm.name: job for job in jobs if job.arm.epochs}
    assert list(short) == ['lfi in 4 epochs', 'lfi in 7 epochs']
    cfg = short['lfi in 4 epochs'].config()
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == 4


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


def test_a_cell_leaves_a_domain_out(tmp_path):
    jobs = plan(DOMAINS, [0, 7], [], tmp_path)
    assert len(jobs) == len({job.key for job in jobs}) == len({job.folder for job in jobs}) == 2 * 4 * 2
    job = next(job for job in jobs if job.domain == 'photo' and job.seed == 7 and job.cache)
    assert job.name == 'lfi_vit-tiny_shapes-domains, photo left out, seed 7'
    assert job.environment == {'LFI_TARGET_DOMAIN': 'photo'}
    cfg = job.config()
    assert (cfg.target_domain, cfg.source_domains) == ('photo', ['painting', 'cartoon', 'sketch'])
    assert cfg.train_dataloader.dataset.seed == cfg.val_dataloader.dataset.seed == cfg.randomness.seed == 7
    # Another split has other training images, and so a cache of its own.
    assert job.cache == job.folder / 'cache'
    assert 'train_dataloader.dataset.seed=7' in job.cache_command('python')


def test_domains_are_those_that_are_there(tmp_path):
    assert {job.domain for job in plan(DOMAINS, [0], [], tmp_path, ['cartoon'])} == {'cartoon'}
    with pytest.raises(UsageError, match='--domains woodcut: there are cartoon, painting, photo, sketch'):
        plan(DOMAINS, [0], [], tmp_path, ['woodcut'])
    plain = leave_one_out('Shapes', (domain_arm('configs/baselines/task-loss_vit-tiny_shapes.py'),))
    with pytest.raises(UsageError, match='has no target_domain: it must read LFI_TARGET_DOMAIN'):
        plan(plain, [0], [], tmp_path)


def test_the_domain_of_the_environment_is_left_as_it_was(monkeypatch):
    config = 'configs/baselines/task-loss_vit-tiny_shapes-domains.py'
    monkeypatch.setenv('LFI_TARGET_DOMAIN', 'cartoon')
    assert read_config(config, domain='photo').target_domain == 'photo'
    assert read_config(config).target_domain == 'sketch'
    monkeypatch.delenv('LFI_TARGET_DOMAIN')
    read_config(config, domain='photo')
    assert read_config(config).target_domain == 'sketch'


def test_a_cached_cell_has_another_identity(tmp_path):
    job = next(job for job in plan(PRESETS['shapes'], [0], [], tmp_path) if job.arm.name == 'lfi')
    moved = next(job for job in plan(PRESETS['shapes'], [0], [], tmp_path / 'x') if job.arm.name == 'lfi')
    assert moved.identity == job.identity
    job = plan(DOMAINS, [0], [], tmp_path)[1]
    online = leave_one_out('Shapes', (*DOMAINS.arms[:1], domain_arm(DOMAINS.arms[1].config)))
    assert plan(online, [0], [], tmp_path)[1].identity != job.identity


def test_an_arms_own_options_win_over_those_of_all(tmp_path):
    options = ['model.backbone.write_back=none', 'train_cfg.max_epochs=2']
    jobs = plan(PRESETS['shapes'], [0], options, tmp_path)
    names = ('lfi-write-back', 'lfi in 4 epochs')
    cfgs = {job.arm.name: job.config() for job in jobs if job.arm.name in names}
    assert cfgs['lfi-write-back'].model.backbone.write_back == 'gated'
    assert [cfg.train_cfg.max_epochs for cfg in cfgs.values()] == [2, 4]


def test_each_test_has_its_own_metrics(tmp_path):
    job = plan(PRESETS['zero-shot'], [0], [], tmp_path)[1]
    tests = list(job.test_commands(Launcher(python='python'), Path('x.pth')))
    assert [(name, file) for name, file, _ in tests] == [
        (f'{name}/', job.folder / f'test/{name}/metrics.json') for name in ('pacs', 'vlcs')
    ]
    assert tests[0][2][:2] == ['python', 'tools/test.py']


def test_a_test_by_another_config_has_no_settings_of_training(tmp_path):
    option = 'model.distill_loss.loss_weight=3'
    jobs = {job.arm.name: job for job in plan(PRESETS['tiny-small'], [0], [option], tmp_path)}
    alone = {'model.teacher_cache', 'model.distill_loss.loss_weight'}
    for name in ('logit-kd', 'feature-mse'):
        ((_, _, command),) = jobs[name].test_commands(Launcher(python='python'), Path('x.pth'))
        options = command[command.index('--cfg-options') + 1 :]
        left = alone & {typed.split('=')[0] for typed in options}
        # Its own config has them.
        assert left == (set() if jobs[name].arm.test_config else alone)
        assert 'randomness.seed=0' in options


def test_options_of_the_command_win_over_those_of_the_study(tmp_path):
    option = 'test_dataloader.dataset.num_images=40'
    job = plan(PRESETS['shapes'], [0], [option], tmp_path)[0]
    ((_, _, command),) = job.test_commands(Launcher(python='python'), Path('x.pth'))
    typed = command[command.index('--cfg-options') + 1 :]
    assert [each for each in typed if each.startswith('test_dataloader.')] == [
        option,
        'test_dataloader.dataset.split=test',
    ]


def test_the_best_checkpoint_is_the_latest_kept(tmp_path):
    with pytest.raises(
        UsageError, match='no best checkpoint: the config needs default_hooks.checkpoint.save_best'
    ):
        best_checkpoint(tmp_path)
    for epoch in (9, 10):
        (tmp_path / f'best_domain_mean_epoch_{epoch}.pth').touch()
    assert best_checkpoint(tmp_path).name == 'best_domain_mean_epoch_10.pth'


def test_an_option_that_makes_an_arm_what_it_is_cannot_be_changed():
    arms = {arm.name: arm for arm in PRESETS['shapes'].arms}
    option = ['model.backbone.write_back=none']
    with pytest.raises(
        UsageError, match="model.backbone.write_back: the arm 'lfi-write-back' sets it itself"
    ):
        keep_arms(arms.values(), option)
    keep_arms([arms['lfi']], option)
