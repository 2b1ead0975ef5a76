"""Distributed processes of a run: launchers, gloo on the CPU, and checks of sharded models."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Mapping
from datetime import timedelta

import torch.distributed
from mmengine import dist
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from torch import nn
from torch.distributed import ProcessGroup
from torch.distributed.fsdp import FullyShardedDataParallel

from lfi.errors import UsageError
from lfi.utils.config_types import type_name

# Below the ports that Linux assigns to outgoing connections.
SLURM_PORTS = range(20000, 32000)
LONGEST_SHARE = timedelta(days=30)
"""Time for which a process waits for others, whose share may take longer."""


def set_up_distributed(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Set up one of the processes that a launcher has started.

    With a GPU, the Runner initializes the process group with the backend of ``env_cfg.dist_cfg`` (nccl). On
    the CPU, this function initializes it with gloo, and the model is wrapped without device ids.

    Args:
        cfg: Config of the run, changed in place.
        launcher: Launcher of the processes: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        local_rank: Rank in the node, unless the environment has it. Defaults to 0.

    Raises:
        UsageError: If the environment lacks the launcher's variables; the device is a Mac's GPU; or FSDP is
            set by a model wrapper, has no launcher, or is combined with an EMA hook.
    """
    cfg.launcher = launcher
    _check_fsdp(cfg)
    if launcher == 'none':
        return
    if get_device() == 'mps':
        raise UsageError(
            f'--launcher {launcher}: torch.distributed has no backend for MPS, the GPU of a Mac: train in '
            'one process, by lfi train'
        )
    try:
        _set_rank_variables(launcher, local_rank)
    except KeyError as error:
        raise UsageError(
            f'--launcher {launcher}: {error} is not set; start by tools/dist_*.sh or tools/slurm_*.sh'
        ) from error
    if get_device() != 'cpu':
        return
    torch.distributed.init_process_group('gloo')
    find_unused = cfg.get('find_unused_parameters', False)
    wrapper = cfg.get('model_wrapper_cfg') or ConfigDict(
        type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=find_unused
    )
    wrapper.device_ids = None
    cfg.model_wrapper_cfg = wrapper


def _check_fsdp(cfg: Config) -> None:
    if 'FullySharded' in type_name(cfg.get('model_wrapper_cfg') or {}):
        raise UsageError(
            'model_wrapper_cfg.type is FSDP, which is a strategy here: leave it out, and inherit from '
            'lfi::_base_/strategies/fsdp.py'
        )
    if 'FSDP' not in type_name(cfg.get('strategy') or {}):
        return
    for hook in cfg.get('custom_hooks') or ():
        if isinstance(hook, dict) and type_name(hook).endswith('EMAHook'):
            raise UsageError(
                f'custom_hooks has {type_name(hook)}, which would average the shards of FSDP and fail at the '
                'first checkpoint: leave it out, or train by DDP'
            )
    if cfg.launcher == 'none':
        raise UsageError(
            'strategy is FSDP, which needs a launcher, for one process too: start it by '
            'tools/dist_train.sh CONFIG 1, or tools/dist_test.sh CONFIG CHECKPOINT 1'
        )


def _set_rank_variables(launcher: str, local_rank: int) -> None:
    """Set torch's environment variables from those of the launcher."""
    env = os.environ
    if launcher == 'slurm':
        env.update(RANK=env['SLURM_PROCID'], WORLD_SIZE=env['SLURM_NTASKS'], LOCAL_RANK=env['SLURM_LOCALID'])
        if 'MASTER_ADDR' not in env:
            env['MASTER_ADDR'] = _first_slurm_host(env['SLURM_NODELIST'])
        env.setdefault('MASTER_PORT', str(_slurm_port(env)))
    elif launcher == 'mpi':
        env.update({name: env[f'OMPI_COMM_WORLD_{name}'] for name in ('RANK', 'LOCAL_RANK')})
        env['WORLD_SIZE'] = env['OMPI_COMM_WORLD_SIZE']
    env.setdefault('LOCAL_RANK', str(local_rank))
    env.setdefault('MASTER_PORT', '29500')
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR'):
        env[name]  # noqa: B018  raises a KeyError if it is missing


def _slurm_port(env: Mapping[str, str]) -> int:
    """Return a port that the processes of a job step agree on and other jobs are unlikely to use."""
    step = int(env.get('SLURM_JOB_ID', 0)) + int(env.get('SLURM_STEP_ID', 0))
    return SLURM_PORTS.start + step % len(SLURM_PORTS)


def _first_slurm_host(nodes: str) -> str:
    hosts = subprocess.run(
        ['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True
    )
    return hosts.stdout.split()[0]


def patient_group() -> ProcessGroup | None:
    """Return a group of all processes, whose barrier waits for slow ones; None for one process.

    All processes call it at the start of their shares. torch's own group gives up after 10 or 30 minutes,
    and a launcher then ends the processes that still work.
    """
    if not dist.is_distributed():
        return None
    return torch.distributed.new_group(backend='gloo', timeout=LONGEST_SHARE)


def refuse_shards(model: nn.Module) -> None:
    """Refuse a sharded model, of which no process has all weights.

    Raises:
        TypeError: If the model is wrapped by FSDP.
    """
    if isinstance(model, FullyShardedDataParallel):
        raise TypeError(
            'interaction maps of a model that FSDP shards cannot be computed: leave out InteractionMapsHook '
            'and InteractionVisualizationHook, and use them in a test of the checkpoint without FSDP'
        )


def destroy_process_group() -> None:
    """End the process group, if there is one. A group alive at exit aborts the process."""
    if torch.distributed.is_initialized():
        # The Runner, a reference cycle, holds the group.
        gc.collect()
        torch.distributed.destroy_process_group()


def init_process_group(cfg: Config) -> None:
    """Initialize the process group and set the default scope, as a Runner does.

    Code that runs before the Runner, or without one, calls this function.

    Args:
        cfg: config of the run, after `set_up_distributed`.
    """
    if cfg.launcher != 'none' and not dist.is_distributed():
        dist.init_dist(cfg.launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
