from types import SimpleNamespace

import pytest
from lfi.engine import LossWeightHook
from lfi.models import InteractionDistillLoss


def runner_at(iteration: int, loss: InteractionDistillLoss) -> SimpleNamespace:
    return SimpleNamespace(
        model=SimpleNamespace(interaction_loss=loss), iter=iteration, train_dataloader=range(10)
    )


def test_the_weight_moves_linearly_between_begin_and_end():
    loss = InteractionDistillLoss(concepts_weight=4.0)
    hook = LossWeightHook('concepts_weight', begin=1, end=3, start_factor=0.5, end_factor=1.0)
    hook.before_train(runner_at(0, loss))
    seen = []
    for iteration in (0, 10, 20, 30, 99):
        hook.before_train_iter(runner_at(iteration, loss), 0)
        seen.append(loss.concepts_weight)
    assert seen == pytest.approx([2.0, 2.0, 3.0, 4.0, 4.0])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(weight='weight'), "weight='weight' is unknown"),
        (dict(end=0), 'end=0 must be after begin=0'),
        (dict(start_factor=0), 'start_factor=0 must be above 0'),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        LossWeightHook(**{**dict(weight='concepts_weight', end=3, start_factor=0.5), **change})
