"""A training does not resume from files that lack its state."""

from collections import Counter
from types import SimpleNamespace
from uuid import uuid4

import pytest
import torch
from lfi.engine.hooks import resuming
from lfi.engine.scalars import read_scalars
from lfi.errors import UsageError
from lfi.registry import HOOKS
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

COMPLETE = dict(state_dict={}, meta={}, message_hub={}, optimizer={})


@pytest.mark.parametrize(
    ('missing', 'said'),
    [
        (['optimizer'], 'no optimizer'),
        (['message_hub', 'optimizer'], 'no message_hub and no optimizer'),
        (['meta', 'message_hub', 'optimizer'], 'no meta and no message_hub and no optimizer'),
    ],
)
def test_best_exported_and_published_files_are_refused(missing, said):
    hook = HOOKS.build(dict(type='lfi.CompleteCheckpointHook'))
    runner = SimpleNamespace(_load_from='work/best.pth')
    found = {key: value for key, value in COMPLETE.items() if key not in missing}
    with pytest.raises(UsageError, match=rf'cannot resume from work/best\.pth: it has {said}, like best_'):
        hook.after_load_checkpoint(runner, found)
    hook.after_load_checkpoint(runner, COMPLETE)


@pytest.mark.parametrize(
    ('kind', 'epoch', 'steps', 'warns'),
    [
        (EpochBasedTrainLoop, 2, 8, False),
        (EpochBasedTrainLoop, 2, 10, True),
        (EpochBasedTrainLoop, 0, 0, False),
        (EpochBasedTrainLoop, 0, 2, True),
        (EpochBasedTrainLoop, 2, 12, True),
        (EpochBasedTrainLoop, 2, 16, True),
        (IterBasedTrainLoop, 2, 10, False),
    ],
)
def test_it_compares_steps_with_epochs(kind, epoch, steps, warns):
    loop = kind.__new__(kind)
    loop.dataloader = [None] * 4
    said = []
    logger = SimpleNamespace(warning=said.append)
    runner = SimpleNamespace(train_loop=loop, epoch=epoch, iter=steps, logger=logger)
    HOOKS.build(dict(type='lfi.ResumedStepsHook')).before_train(runner)
    assert len(said) == warns
    if warns:
        start = f'The checkpoint has {steps} steps in {epoch} epochs, and this training has 4 an epoch: '
        assert said[0].startswith(start)
        # What has more than an epoch's steps beyond is of another length.
        assert ('within an epoch, which is repeated' in said[0]) == (steps - 4 * epoch <= 4)


def test_processes_that_resumed_elsewhere_are_refused(monkeypatch):
    monkeypatch.setattr(resuming.dist, 'all_gather_object', lambda own: [own, 24, own])
    hook = HOOKS.build(dict(type='lfi.ResumedStepsHook'))
    with pytest.raises(UsageError, match='resumed at different iterations, 16, 24: start all nodes again'):
        hook.before_train(SimpleNamespace(iter=16))


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.weight.sum()) if mode == 'loss' else [self.weight.item()]


class Weight(BaseMetric):
    """The model's weight; a kill comes while it is this one."""

    def __init__(self, killed_at):
        super().__init__()
        self.killed_at = killed_at

    def process(self, data_batch, data_samples):
        if data_samples[0] == self.killed_at:
            raise KeyboardInterrupt
        self.results.append(data_samples[0])

    def compute_metrics(self, results):
        return dict(weight=results[0])


class Killed(BaseException):
    pass


def kill_before_writing(monkeypatch, name, time):
    """The `time`-th writing of a checkpoint of this name ends the run."""
    write, written = Runner.save_checkpoint, Counter()

    def killed(runner, out_dir, filename, *args, **kwargs):
        written[filename] += 1
        if (filename, written[filename]) == (name, time):
            raise Killed
        return write(runner, out_dir, filename, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', killed)


def train(
    work_dir,
    epochs,
    killed_at=None,
    resume=None,
    val_interval=1,
    save_best='weight',
    scheduler=None,
    hooks=(),
    **train_cfg,
):
    loader = dict(dataset=[torch.ones(1)], batch_size=1, num_workers=0)
    loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
    runner = Runner(
        Model(),
        str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=val_interval, **train_cfg),
        val_cfg=dict(),
        val_evaluator=[Weight(killed_at)],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, save_best=save_best, rule='less')
        ),
        custom_hooks=[*hooks, *([dict(type='lfi.MissedValidationHook')] if resume else [])],
        param_scheduler=scheduler,
        visualizer=dict(
            type='Visualizer', name=f'run_{uuid4()}', vis_backends=[dict(type='LocalVisBackend')]
        ),
        experiment_name=f'run_{uuid4()}',
        load_from=str(work_dir / resume) if resume else None,
        resume=bool(resume),
        log_level='WARNING',
    )
    runner.train()


def validations(work_dir):
    return [(row['step'], row['weight']) for row in read_scalars(work_dir) if 'weight' in row]


@pytest.mark.parametrize('epochs', [2, 3])
def test_the_validation_that_a_kill_cut_off_is_done_before_training_resumes(tmp_path, epochs):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, epochs, killed_at=-2)
    assert validations(tmp_path) == [(1, -1)]
    train(tmp_path, epochs, resume='epoch_2.pth')
    assert validations(tmp_path) == [(epoch, -epoch) for epoch in range(1, epochs + 1)]
    assert [path.name for path in tmp_path.glob('best_*.pth')] == [f'best_weight_epoch_{epochs}.pth']


def test_nothing_is_validated_twice_nor_out_of_turn(tmp_path):
    train(tmp_path, 2)
    train(tmp_path, 2, resume='epoch_2.pth')
    assert validations(tmp_path) == [(1, -1), (2, -2)]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'sparse', 4, killed_at=-2, val_interval=2)
    train(tmp_path / 'sparse', 4, resume='epoch_1.pth', val_interval=2)
    assert validations(tmp_path / 'sparse') == [(2, -2), (4, -4)]


def test_the_interval_is_that_of_the_epoch(tmp_path):
    # As RTMDet's schedules have it: every epoch towards the end.
    often = dict(val_interval=3, dynamic_intervals=[(3, 1)])
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 5, killed_at=-4, **often)
    assert validations(tmp_path) == [(2, -2), (3, -3)]
    train(tmp_path, 5, resume='epoch_4.pth', **often)
    assert validations(tmp_path) == [(epoch, -epoch) for epoch in range(2, 6)]


@pytest.mark.parametrize('save_best', ['weight', 'auto', ['weight']])
@pytest.mark.parametrize(
    ('name', 'time'),
    [
        ('best_weight_epoch_2.pth', 1),
        # With the best checkpoint written, the newest learns of it.
        ('epoch_2.pth', 2),
    ],
)
def test_a_kill_after_the_log_costs_no_best_checkpoint(tmp_path, monkeypatch, name, time, save_best):
    kill_before_writing(monkeypatch, name, time)
    with pytest.raises(Killed):
        train(tmp_path, 4, save_best=save_best)
    assert validations(tmp_path) == [(1, -1), (2, -2)]
    # What comes later is worse.
    monkeypatch.setattr(
        Weight, 'compute_metrics', lambda self, found: dict(weight=-2 if found == [-2] else 0)
    )
    train(tmp_path, 4, save_best=save_best, resume='epoch_2.pth')
    assert validations(tmp_path) == [(1, -1), (2, -2), (2, -2), (3, 0), (4, 0)]
    assert [path.name for path in tmp_path.glob('best_*.pth')] == ['best_weight_epoch_2.pth']


def test_what_its_own_folder_has_validated_is_not_validated_again(tmp_path):
    train(tmp_path / 'first', 2)
    train(tmp_path / 'other', 3, resume='../first/epoch_2.pth')
    assert validations(tmp_path / 'other') == [(3, -3)]


@pytest.mark.parametrize(('ends', 'save_best'), [(1, 'weight'), (2, None), (3, 'weight')])
@pytest.mark.parametrize(
    'forgotten',
    [
        # The weight falls: each epoch is worse than the first.
        dict(scheduler=dict(type='ReduceOnPlateauLR', monitor='weight', rule='greater', patience=0)),
        dict(scheduler=dict(type='ReduceOnPlateauLR', monitor='weight', rule='greater', patience=1)),
        dict(hooks=[dict(type='EarlyStoppingHook', monitor='weight', rule='greater', patience=3)]),
    ],
    ids=['plateau', 'patient', 'stopping'],
)
def test_what_waits_for_a_better_validation_waits_as_long(tmp_path, monkeypatch, forgotten, ends, save_best):
    train(tmp_path / 'undisturbed', 6, save_best=save_best, **forgotten)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_before_writing(patch, f'epoch_{ends + 1}.pth', 1)
        train(tmp_path / 'resumed', 6, save_best=save_best, **forgotten)
    train(tmp_path / 'resumed', 6, resume=f'epoch_{ends}.pth', save_best=save_best, **forgotten)
    expected = validations(tmp_path / 'undisturbed')
    assert validations(tmp_path / 'resumed') == expected
    assert len(expected) == (4 if 'hooks' in forgotten else 6)
