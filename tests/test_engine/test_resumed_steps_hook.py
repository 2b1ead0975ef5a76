"""A training that goes on with epochs of another length says so; processes that disagree end."""

from types import SimpleNamespace

import pytest
from lfi.engine import resumed_steps_hook
from lfi.errors import UsageError
from lfi.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop


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
        assert ('within an epoch, which begins anew' in said[0]) == (steps - 4 * epoch <= 4)


def test_processes_that_resumed_elsewhere_are_refused(monkeypatch):
    monkeypatch.setattr(resumed_steps_hook.dist, 'all_gather_object', lambda own: [own, 24, own])
    hook = HOOKS.build(dict(type='lfi.ResumedStepsHook'))
    with pytest.raises(UsageError, match='resumed at different iterations, 16, 24: start all nodes again'):
        hook.before_train(SimpleNamespace(iter=16))
