import pytest
import torch
import waiting_processes
from lfi.engine import processes
from lfi.engine.fsdp_strategy import FSDPStrategy
from lfi.errors import UsageError
from mmengine.config import Config


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(processes, 'get_device', lambda: 'cpu')


@pytest.mark.parametrize(
    ('launcher', 'variables'),
    [
        ('slurm', {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1'}),
        (
            'mpi',
            {'OMPI_COMM_WORLD_RANK': '3', 'OMPI_COMM_WORLD_SIZE': '4', 'OMPI_COMM_WORLD_LOCAL_RANK': '1'},
        ),
        ('pytorch', {'RANK': '3', 'WORLD_SIZE': '4', 'LOCAL_RANK': '1'}),
    ],
)
def test_launchers_look_alike(monkeypatch, launcher, variables):
    env = {**dict(zip(variables, ('3', '4', '1'))), 'MASTER_ADDR': 'host'}
    backends = []
    monkeypatch.setattr(processes.os, 'environ', env)
    monkeypatch.setattr(torch.distributed, 'init_process_group', backends.append)
    cfg = Config({'find_unused_parameters': True})
    processes.set_up_distributed(cfg, launcher)
    assert (env['RANK'], env['WORLD_SIZE'], env['LOCAL_RANK']) == ('3', '4', '1')
    assert env['MASTER_PORT'] == ('20000' if launcher == 'slurm' else '29500')
    assert backends == ['gloo']
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.find_unused_parameters is True


@pytest.mark.parametrize(
    ('variables', 'port'),
    [
        (dict(SLURM_JOB_ID='12345'), '20345'),
        (dict(SLURM_JOB_ID='12345', SLURM_STEP_ID='2'), '20347'),
        (dict(SLURM_JOB_ID='12345', MASTER_PORT='29503'), '29503'),
    ],
)
def test_slurm_jobs_have_ports_of_their_own(monkeypatch, variables, port):
    env = dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0', MASTER_ADDR='host', **variables)
    monkeypatch.setattr(processes.os, 'environ', env)
    # On a GPU the Runner initializes the process group, by this variable.
    monkeypatch.setattr(processes, 'get_device', lambda: 'cuda')
    processes.set_up_distributed(Config({}), 'slurm')
    assert env['MASTER_PORT'] == port


def test_several_processes_are_refused_on_a_mac(monkeypatch):
    monkeypatch.setattr(processes, 'get_device', lambda: 'mps')
    processes.set_up_distributed(Config({}), 'none')
    with pytest.raises(UsageError, match='torch.distributed has no backend for MPS'):
        processes.set_up_distributed(Config({}), 'pytorch')


def test_launcher_without_its_variables(monkeypatch):
    monkeypatch.setattr(processes.os, 'environ', {})
    with pytest.raises(UsageError, match='SLURM_PROCID'):
        processes.set_up_distributed(Config({}), 'slurm')


def test_fsdp_is_a_strategy_and_has_a_launcher():
    wrapped = Config(dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')))
    for launcher in ('none', 'pytorch'):
        with pytest.raises(UsageError, match=r'model_wrapper_cfg\.type is FSDP, .*strategies/fsdp\.py'):
            processes.set_up_distributed(wrapped, launcher)
    for kind in ('FSDPStrategy', 'lfi.FSDPStrategy', FSDPStrategy):
        with pytest.raises(UsageError, match=r'strategy is FSDP, which needs a launcher'):
            processes.set_up_distributed(Config(dict(strategy=dict(type=kind))), 'none')
    processes.set_up_distributed(Config(dict(strategy=dict(type='DDPStrategy'))), 'none')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(state_dict_cfg='local'), "state_dict_cfg='local' writes checkpoints"),
        (dict(model_wrapper=dict(use_orig_params=False)), 'use_orig_params=False joins parameters'),
    ],
)
def test_fsdp_by_other_settings_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FSDPStrategy(**options)


def test_fsdp_averages_no_weights():
    averaged = dict(custom_hooks=[dict(type='NumClassCheckHook'), dict(type='mmpretrain.EMAHook')])
    with pytest.raises(UsageError, match='custom_hooks has EMAHook, .* leave it out, or train by DDP'):
        processes.set_up_distributed(
            Config({**averaged, 'strategy': dict(type='lfi.FSDPStrategy')}), 'pytorch'
        )
    processes.set_up_distributed(Config(averaged), 'none')


def test_a_process_waits_for_a_slow_one_and_both_have_the_same_tar_files(tmp_path):
    pytest.importorskip('braceexpand')
    for rank, names in enumerate((['a', 'b'], ['c'])):
        (tmp_path / f'of_{rank}').mkdir()
        for name in names:
            (tmp_path / f'of_{rank}/{name}.tar').touch()
    torch.multiprocessing.spawn(waiting_processes.work, (str(tmp_path),), 2)
    found = [(tmp_path / f'found_{rank}').read_text().splitlines() for rank in range(2)]
    assert found[0] == found[1] == [str(tmp_path / f'of_0/{name}.tar') for name in 'ab']


def test_one_process_waits_for_none():
    assert processes.patient_group() is None
