import logging
import math
import re
from pathlib import Path

import pytest
import torch
from lfi.engine import NonFiniteError, NonFiniteHook
from lfi.models.losses.means import ChannelStandardisation, RunningMean
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

BATCH_SIZE, NUM_BATCHES = 2, 4
CLIPPING = [None, {'max_norm': 1.0}, {'type': 'value', 'clip_value': 1.0}]


class ToyModel(BaseModel):
    """Two losses; the norm takes part, so that its running statistics are in danger too."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, inputs, data_samples, mode='loss'):
        inputs = torch.stack(inputs)
        features = self.norm(self.linear(inputs))
        # The gradient of this root is infinite where all inputs are 0, and its value finite.
        return {
            'loss_square': features.square().mean(),
            'loss_root': (self.linear.weight.sum() * inputs.sum()).abs().sqrt(),
            'acc': inputs.sum() / 0,
        }


class ToyDataset(torch.utils.data.Dataset):
    """Eight samples, one after another; `images` replaces some of them."""

    def __init__(self, images: dict[int, torch.Tensor], batches: list[int]):
        self.images = images
        self.order = [batch * BATCH_SIZE + i for batch in batches for i in range(BATCH_SIZE)]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, index):
        index = self.order[index]
        image = torch.randn(3, generator=torch.Generator().manual_seed(index))
        sample = BaseDataElement(metainfo={'img_path': f'images/{index}.png'})
        return {'inputs': self.images.get(index, image), 'data_samples': sample}


NAN = torch.tensor([math.nan, 0.0, 0.0])
ZEROS = {4: torch.zeros(3), 5: torch.zeros(3)}


def toy_runner(
    tmp_path: Path, images=None, hook=None, batches=range(NUM_BATCHES), model=ToyModel, **optim_wrapper
) -> Runner:
    torch.manual_seed(0)
    return Runner(
        model(),
        str(tmp_path / 'work'),
        train_dataloader={
            'dataset': ToyDataset(images or {}, list(batches)),
            'batch_size': BATCH_SIZE,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'num_workers': 0,
        },
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.1}, **optim_wrapper},
        default_hooks={'checkpoint': None, 'logger': None},
        custom_hooks=hook and [hook],
        log_level='WARNING',
        experiment_name=str(tmp_path),
    )


def hook(max_skips: int = 0) -> dict:
    return {'type': 'lfi.NonFiniteHook', 'max_skips': max_skips}


def assert_equal(ours: Runner, theirs: Runner) -> None:
    for name, value in theirs.model.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], value, rtol=0, atol=0)


def assert_finite(runner: Runner) -> None:
    moments = [value for state in runner.optim_wrapper.optimizer.state.values() for value in state.values()]
    for value in (*runner.model.state_dict().values(), *moments):
        assert value.isfinite().all()


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    said = []
    monkeypatch.setattr(logging.Logger, 'handle', lambda self, record: said.append(record.getMessage()))
    return said


@pytest.mark.parametrize(
    ('clip_grad', 'max_skips'), [*((clipping, 2) for clipping in CLIPPING), (CLIPPING[1], 0)]
)
def test_a_healthy_run_is_left_as_it_is(tmp_path, clip_grad, max_skips):
    watched = toy_runner(tmp_path / 'watched', hook=hook(max_skips), clip_grad=clip_grad and dict(clip_grad))
    alone = toy_runner(tmp_path / 'alone', clip_grad=clip_grad and dict(clip_grad))
    watched.train(), alone.train()
    assert_equal(watched, alone)


@pytest.mark.parametrize('clip_grad', CLIPPING)
def test_the_first_bad_loss_ends_training_and_is_named(tmp_path, clip_grad):
    runner = toy_runner(tmp_path / 'ours', {5: NAN}, hook(), clip_grad=clip_grad and dict(clip_grad))
    message = (
        r'^loss is nan, loss_square is nan, loss_root is nan at epoch 1, iteration 3\. '
        r'Images of the batch: images/4\.png, images/5\.png\. .*non_finite\.max_skips=N'
    )
    with pytest.raises(NonFiniteError, match=message):
        runner.train()
    assert all(parameter.isfinite().all() for parameter in runner.model.parameters())


@pytest.mark.parametrize('clip_grad', CLIPPING)
def test_a_bad_gradient_is_seen_before_it_harms(tmp_path, clip_grad):
    runner = toy_runner(tmp_path, ZEROS, hook(), clip_grad=clip_grad and dict(clip_grad))
    message = r'the gradient has the norm (nan|inf), while every loss .* at epoch 1, iteration 3\.'
    with pytest.raises(NonFiniteError, match=message):
        runner.train()
    assert_finite(runner)


@pytest.mark.parametrize(
    ('images', 'clip_grad'),
    [
        *(({5: NAN}, clipping) for clipping in CLIPPING),
        (ZEROS, None),
        ({4: torch.full((3,), math.inf)}, None),
    ],
)
def test_a_skipped_batch_is_as_if_it_were_not_there(tmp_path, clip_grad, images, warnings):
    skipping = toy_runner(tmp_path / 'ours', images, hook(1), clip_grad=clip_grad and dict(clip_grad))
    without = toy_runner(tmp_path / 'theirs', batches=[0, 1, 3], clip_grad=clip_grad and dict(clip_grad))
    skipping.train(), without.train()
    assert_finite(skipping)
    assert_equal(skipping, without)
    said = [text for text in warnings if 'images/4.png' in text]
    assert [re.search(r'epoch \d, iteration \d', text).group() for text in said] == [
        'epoch 1, iteration 3',
        'epoch 2, iteration 3',
    ]
    assert all('Its update is skipped' in text for text in said)
    assert skipping.message_hub.get_info('skipped_updates') == 2
    assert '2 updates were skipped because of NaN or infinite values.' in warnings


class StatisticsModel(ToyModel):
    """Statistics that are new tensors in each step, in a buffer and in none."""

    def __init__(self):
        super().__init__()
        self.standardise = ChannelStandardisation(3)
        self.mean = RunningMean()

    def forward(self, inputs, data_samples, mode='loss'):
        losses = super().forward(inputs, data_samples, mode)
        inputs = torch.stack(inputs)
        self.mean.add(inputs.sum(0), torch.full((3,), float(len(inputs))))
        target = self.standardise(inputs) + self.mean.mean
        return {**losses, 'loss_statistics': (self.linear(inputs)[:, :3] - target).square().mean()}


def test_statistics_of_a_skipped_batch_are_as_if_it_were_not_there(tmp_path, warnings):
    skipping = toy_runner(tmp_path / 'ours', {5: NAN}, hook(1), model=StatisticsModel)
    without = toy_runner(tmp_path / 'theirs', batches=[0, 1, 3], model=StatisticsModel)
    skipping.train(), without.train()
    assert_finite(skipping)
    assert_equal(skipping, without)


def test_too_many_in_a_row_end_training(tmp_path, warnings):
    runner = toy_runner(tmp_path, dict.fromkeys(range(2, 8), NAN), hook(2))
    with pytest.raises(NonFiniteError, match=r'iteration 4\..*one more in a row than max_skips=2'):
        runner.train()
    assert_finite(runner)
    assert len([text for text in warnings if 'skipped' in text]) == 2


def test_with_accumulated_gradients_the_whole_update_is_skipped_and_counts_once(tmp_path, warnings):
    runner = toy_runner(tmp_path / 'ours', {0: NAN}, hook(1), accumulative_counts=2)
    without = toy_runner(tmp_path / 'theirs', batches=[2, 3], accumulative_counts=2)
    runner.train(), without.train()
    assert_equal(runner, without)
    assert runner.message_hub.get_info('skipped_updates') == 2


@pytest.mark.parametrize('bad', [0, 2])
def test_with_accumulated_gradients_no_batch_of_a_skipped_update_is_in_the_running_statistics(
    tmp_path, bad, warnings
):
    runner = toy_runner(tmp_path, {bad: NAN}, hook(2), batches=range(2), accumulative_counts=2)
    before = {name: buffer.clone() for name, buffer in runner.model.named_buffers()}
    runner.train()
    assert runner.message_hub.get_info('skipped_updates') == 2
    assert all(torch.equal(buffer, before[name]) for name, buffer in runner.model.named_buffers())


class MaskedModel(ToyModel):
    """A loss that is NaN and moves nothing, as of a mask that leaves no pixel."""

    def forward(self, inputs, data_samples, mode='loss'):
        losses = super().forward(inputs, data_samples, mode)
        losses['loss_masked'] = torch.tensor(math.nan)
        return losses


def test_an_update_with_a_finite_gradient_is_kept_but_counted(tmp_path, warnings):
    runner = toy_runner(tmp_path, hook=hook(1))
    runner.model.__class__ = MaskedModel
    with pytest.raises(NonFiniteError, match=r'^loss is nan, loss_masked is nan at epoch 1, iteration 2'):
        runner.train()
    assert 'Its update is kept: its gradient is finite.' in warnings[-1]
    assert runner.message_hub.get_info('skipped_updates') is None


class ScaledOptimWrapper(OptimWrapper):
    """As mmengine's AmpOptimWrapper, without a GPU; its first scale is too large."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=2.0**127)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss * 1e3).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()


def test_a_loss_scaler_may_search_for_its_scale(tmp_path):
    runner = toy_runner(tmp_path / 'ours', hook=hook(), type=ScaledOptimWrapper)
    runner.train()
    assert runner.optim_wrapper.loss_scaler.get_scale() < 2.0**127
    assert_finite(runner)
    runner = toy_runner(tmp_path / 'theirs', {5: NAN}, hook(), type=ScaledOptimWrapper)
    with pytest.raises(NonFiniteError, match=r'loss_square is nan'):
        runner.train()


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match='max_skips=-1 is negative'):
        NonFiniteHook(max_skips=-1)
    runner = toy_runner(tmp_path)
    runner.optim_wrapper = OptimWrapperDict(model=runner.build_optim_wrapper(runner.optim_wrapper))
    NonFiniteHook().before_train(runner)
    with pytest.raises(TypeError, match=r'max_skips=2 needs one torch optimizer, .* OptimWrapperDict'):
        NonFiniteHook(max_skips=2).before_train(runner)
