"""Training on a device: what a GPU computes is what the CPU computes, whatever the precision and layout."""

import copy
import os
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torch.distributed
from lfi.engine.launch import set_dataloader_defaults
from mmengine.device import get_device
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from small_runs import SMALL
from small_step import (
    CLASSIFIER,
    DETECTOR,
    FEW_CONCEPTS,
    learns,
    small_config,
    small_step,
    write_cache,
)
from torch import nn
from torch.distributed.elastic.utils.distributed import get_free_port
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = pytest.param('cuda', marks=pytest.mark.cuda)
INTERACTIONS = ('loss_spatial', 'loss_semantic', 'loss_presence')
STEPS = {
    'classifier': (CLASSIFIER, {}),
    'few concepts': (CLASSIFIER, FEW_CONCEPTS),
    'mean target': (CLASSIFIER, {'control.type': 'lfi.MeanTarget'}),
    'dense features': (CLASSIFIER, learns('dense_features')),
    'affinity': (CLASSIFIER, learns('affinity')),
}
"""Config and options of the model."""


@pytest.fixture(params=['cpu', CUDA])
def device(request) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch):
    """Convolutions of a GPU have float32's own precision."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def losses_of(
    model: nn.Module,
    batch: dict,
    device: torch.device,
    context: AbstractContextManager | None = None,
    call: nn.Module | None = None,
) -> dict[str, float]:
    """The losses of a step whose gradients are on the device and finite.

    Args:
        model: is moved to the device.
        batch: as a loader gives it.
        device: of the step.
        context: of the forward pass. Defaults to none.
        call: is called for the losses. Defaults to the model.
    """
    data = model.to(device).data_preprocessor(copy.deepcopy(batch), training=True)
    with context or nullcontext():
        losses = (model if call is None else call)(**data, mode='loss')
    total, logged = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.device.type == device.type, name
            assert parameter.grad.isfinite().all(), name
    return {name: value.item() for name, value in logged.items()}


@pytest.mark.cuda
@pytest.mark.parametrize('name', STEPS)
def test_a_step_is_that_of_the_cpu(name):
    config, options = STEPS[name]
    on_gpu, expected = (
        losses_of(*small_step(config, **options), torch.device(device)) for device in ('cuda', 'cpu')
    )
    assert on_gpu == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.cuda
def test_what_a_gpu_caches_is_what_the_cpu_caches(tmp_path):
    losses = []
    for device in ('cuda', 'cpu'):
        model, batch = small_step(CLASSIFIER)
        folder, data = tmp_path / device, model.to(device).data_preprocessor(batch, training=True)
        write_cache(str(folder), model, data)
        # It gives the samples of the batch what a loader reads of a cache.
        data['inputs'] = batch['inputs']
        cached, _ = small_step(CLASSIFIER, **{'teacher.cache': str(folder)})
        losses.append(losses_of(cached, data, torch.device(device)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-2, abs=1e-4)


@pytest.mark.cuda
def test_a_detector_learns_what_it_learns_on_the_cpu():
    """Of its own losses it samples the boxes at random."""
    on_gpu, expected = (losses_of(*small_step(DETECTOR), torch.device(device)) for device in ('cuda', 'cpu'))
    for name in INTERACTIONS:
        assert on_gpu[name] == pytest.approx(expected[name], rel=1e-3)


@pytest.mark.cuda
@pytest.mark.parametrize('name', STEPS)
def test_a_step_waits_for_nothing(name):
    """Beside `test_device_placement`, which finds the same on a device that only pretends."""
    config, options = STEPS[name]
    model, batch = small_step(config, **options)
    losses_of(model, batch, torch.device('cuda'))
    data = model.data_preprocessor(batch, training=True)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        losses = model(**data, mode='loss')
        sum(value for name, value in losses.items() if 'loss' in name).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
@pytest.mark.parametrize('name', ['few concepts', 'dense features'])
def test_mixed_precision_is_near_float32(device, dtype, name):
    if dtype == 'float16' and device.type == 'cpu':
        pytest.skip('training on the CPU takes bfloat16')
    config, options = STEPS[name]
    expected = losses_of(*small_step(config, **options), device)
    reduced = torch.autocast(device.type, getattr(torch, dtype))
    found = losses_of(*small_step(config, **options), device, reduced)
    assert found == pytest.approx(expected, rel=0.05, abs=0.01)


@pytest.mark.cuda
def test_a_compiled_step_is_the_eager_one():
    device = torch.device('cuda')
    expected = losses_of(*small_step(CLASSIFIER), device)
    model, batch = small_step(CLASSIFIER)
    compiled = torch.compile(model)
    assert losses_of(model, batch, device, call=compiled) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_channels_last_changes_nothing(device):
    expected = losses_of(*small_step(CLASSIFIER), device)
    model, batch = small_step(CLASSIFIER)
    model = model.to(memory_format=torch.channels_last)
    batch['inputs'] = list(torch.stack(batch['inputs']).contiguous(memory_format=torch.channels_last))
    assert losses_of(model, batch, device) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.cuda
def test_pinned_images_arrive():
    cfg = small_config(CLASSIFIER)
    set_dataloader_defaults(cfg)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    assert batch['inputs'].is_pinned()
    model, _ = small_step(CLASSIFIER)
    assert losses_of(model, batch, torch.device('cuda'))['loss'] > 0


def test_one_process_of_several_is_the_model_itself(device, tmp_path):
    """By NCCL on a GPU, and by gloo on the CPU."""
    expected = losses_of(*small_step(CLASSIFIER), device)
    model, batch = small_step(CLASSIFIER)
    torch.distributed.init_process_group(
        {'cuda': 'nccl', 'cpu': 'gloo'}[device.type],
        init_method=f'file://{tmp_path}/meeting',
        rank=0,
        world_size=1,
    )
    try:
        ids = [0] if device.type == 'cuda' else None
        joined = MMDistributedDataParallel(model.to(device), device_ids=ids, broadcast_buffers=False)
        assert losses_of(model, batch, device, call=joined) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    finally:
        torch.distributed.destroy_process_group()


class NoFloat64(TorchDispatchMode):
    """Mode in which an op that returns float64 fails, as on MPS."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for found in tree_leaves(result):
            assert not isinstance(found, torch.Tensor) or found.dtype != torch.float64, func
        return result


@pytest.mark.parametrize('config', [CLASSIFIER, DETECTOR])
def test_no_step_needs_float64_which_the_gpu_of_a_mac_lacks(config):
    model, batch = small_step(config)
    with NoFloat64():
        losses_of(model, batch, torch.device('cpu'))


def test_mixed_precision_by_the_tools_goes_on_where_it_stopped(device, run_tool, config_path, tmp_path):
    """Maps are cached, a training reads them, and a launcher's one process goes on with it."""
    if device.type != get_device():
        pytest.skip(f'the tools take {get_device()} here')
    variables = {}
    if device.type == 'cuda':
        # Tools are tested on the CPU, unless this says otherwise.
        variables['CUDA_VISIBLE_DEVICES'] = os.environ.get('CUDA_VISIBLE_DEVICES', '0')
    config, work, cache = config_path(CLASSIFIER), tmp_path / 'work', tmp_path / 'cache'
    options = ('--cfg-options', 'model.backbone.arch.num_layers=2', *SMALL)
    run_tool('cache', config, '--out', cache, '--num-workers', 0, *options, **variables)
    options = ('--work-dir', work, '--amp', *options, f'model.teacher.cache={cache}')
    run_tool('train.py', config, *options, 'train_cfg.max_epochs=1', **variables)
    options = ('--resume', *options, 'train_cfg.max_epochs=2')
    variables['PORT'] = str(get_free_port())
    resumed = run_tool('dist_train.sh', config, 1, *options, **variables)
    assert 'resumed epoch: 1, iter: 2' in resumed
    # The model of several processes is printed in the log file alone.
    assert any('DistributedDataParallel' in log.read_text() for log in work.glob('*/*.log'))
    state = torch.load(work / 'epoch_2.pth', map_location='cpu', weights_only=False)
    assert ('loss_scaler' in state['optimizer']) == (device.type == 'cuda')
    assert all(weights.isfinite().all() for weights in state['state_dict'].values())
