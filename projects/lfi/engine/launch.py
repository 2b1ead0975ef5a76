"""What the tools share: from their arguments to a Runner."""

from __future__ import annotations

import argparse
import gc
import inspect
import os
import os.path as osp
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.utils import import_modules_from_strings

from lfi.arguments import nearest
from lfi.config_files import find_config, what_became_of
from lfi.errors import CheckpointError, UsageError
from lfi.option_checks import check_whole
from lfi.repositories import is_student, local_folder

from .checkpoint import find_checkpoint_to_resume, install_safe_checkpoint_loading
from .data_root_option import spread_roots
from .few_labels_option import check_few_labels, set_few_labels
from .loggers_option import set_loggers
from .memory import keep_freed_memory
from .mistakes import MISTAKES, said_of
from .non_finite_hook import NonFiniteError
from .pipelines import LOADERS, check_pipelines

# Below those that Linux gives to outgoing connections.
SLURM_PORTS = range(20000, 32000)
FIND_MODULE = (
    'Correct the name, or let PYTHONPATH name the folder in which the module lies: PYTHONPATH=. lfi ...'
)
# Options of MMEngine and torch that are a number or a word: 'dynamic'.
NUMBER_OR_TEXT = ('loss_scale',)
# What MMEngine and our tools read beside the Runner's own arguments.
FURTHER_SETTINGS = (
    'auto_scale_lr',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'init_weights_for_test_or_val',
    'loggers',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
    'vis_backends',
)
# What a shell says of a program that Ctrl-C stopped.
INTERRUPTED = 130
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def run(main: Callable[[], None], *mistakes: type[Exception]) -> None:
    """Run a tool's ``main``; errors that the user can fix end it with one line instead of a traceback.

    Checkpoints are read safely in its process.

    Args:
        main: The tool.
        *mistakes: Further errors that the user of this tool can fix.
    """
    install_safe_checkpoint_loading()
    if get_device() == 'cpu':
        keep_freed_memory()
    expected: tuple[type[Exception], ...] = (UsageError, CheckpointError, NonFiniteError, *mistakes)
    try:
        main()
    except expected as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except MISTAKES as error:
        mistake = said_of(error)
        if mistake is None:
            raise
        sys.exit(f'error: {mistake}')
    if torch.distributed.is_initialized():
        # The Runner is a cycle, whose DDP holds the group; a group that outlives the interpreter aborts it.
        gc.collect()
        torch.distributed.destroy_process_group()


def load_config(path: str, options: dict | None = None) -> Config:
    """Read a config and change it by ``--cfg-options``.

    ``data_root`` reaches all data, and ``train_dataloader.few_labels`` is filled in.

    Args:
        path: The config file, or the name of one of LFI's as `find_config` takes it; or a student's
            folder or repository on the Hugging Face Hub, as ``lfi.save_pretrained`` wrote it.
        options: Dotted keys and their new values. Defaults to None.

    Raises:
        UsageError: There is no such file, it cannot be read, or an option does not fit the config, as
            `set_few_labels` and `spread_roots` say of theirs.
    """
    cfg = _read_config(path)
    spread_roots(cfg, options or {})
    _check_settings(cfg, options or {})
    _check_numbers(cfg, options or {})
    try:
        cfg.merge_from_dict(options or {})
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise UsageError(f'--cfg-options {options} does not fit {path}: {error}') from error
    if any(key.split('.')[0] == 'custom_imports' for key in options or {}) and cfg.custom_imports:
        _import_modules(cfg)
    set_few_labels(cfg)
    _check_counts(cfg)
    return cfg


def _check_settings(cfg: Config, options: Mapping) -> None:
    """Refuse options of a setting that neither the config has nor the Runner reads: they change nothing."""
    known = {*cfg, *inspect.signature(Runner.__init__).parameters, *FURTHER_SETTINGS}
    for key, value in options.items():
        name = key.split('.')[0]
        if name not in known:
            hint = nearest(name, known) or 'write it into the config, if a part of yours reads it'
            raise UsageError(f'--cfg-options {key}={value}: the config has no {name!r}; {hint}')


def _check_numbers(cfg: Config, options: Mapping) -> None:
    """Refuse options that put a text in the place of a number: what reads it would name no option."""
    for key, value in options.items():
        before: Any = cfg
        for name in key.split('.'):
            before = before.get(name) if isinstance(before, Config | dict) else None
        if key.split('.')[-1] in NUMBER_OR_TEXT:
            continue
        if isinstance(value, str) and isinstance(before, int | float) and not isinstance(before, bool):
            raise UsageError(f'--cfg-options {key}={value}: the config has the number {before!r} there')


def _check_counts(cfg: Config) -> None:
    """Refuse batches and schedules of nothing."""
    counts = {
        f'{part}.{name}': value
        for part in (*LOADERS, 'train_cfg')
        for name in ('batch_size', 'max_epochs', 'max_iters')
        if isinstance(cfg.get(part), dict) and (value := cfg[part].get(name)) is not None
    }
    try:
        check_whole(1, **counts)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _import_modules(cfg: Config) -> None:
    """Import what `--cfg-options` add to custom_imports; MMEngine imports what the file names alone."""
    named = cfg.custom_imports
    try:
        import_modules_from_strings(**named)
    except (ImportError, TypeError) as error:
        raise UsageError(f'--cfg-options custom_imports={named!r}: {error}. {FIND_MODULE}') from error


def _read_config(path: str) -> Config:
    if is_student(path):
        from lfi.student_folder import StudentConfig

        return StudentConfig.read(local_folder(path)).config()
    try:
        file = find_config(path)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    try:
        return Config.fromfile(file)
    except (FileNotFoundError, ConfigParsingError) as error:
        message = f'config {path}: {error}'
        became = what_became_of(message)
        raise UsageError(message if not became or became in message else f'{message}; {became}') from error
    except UsageError:
        raise
    # A config is code, which may raise anything.
    except Exception as error:
        raise UsageError(f'config {path} {_why_unread(error)}') from error


def _why_unread(error: Exception) -> str:
    """What a config that raised says, in one line."""
    first = ' '.join(str(error).split())
    if not isinstance(error, ImportError) or error.__cause__ is None:
        return f'cannot be read as an OpenMMLab config: {type(error).__name__}: {first}{_line_of(error)}'
    # MMEngine tells the whole sys.path.
    failed = error.__cause__
    reason = failed.__cause__ or failed.__context__ or failed
    return f'names custom_imports that fail: {failed} ({type(reason).__name__}: {reason}). {FIND_MODULE}'


def _line_of(error: Exception) -> str:
    """Where an error was raised, unless it says so itself."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, SyntaxError) or 'mmengine' in last.filename:
        return ''
    return f' ({last.filename or "the config"}, line {last.lineno})'


def load_run_config(args: argparse.Namespace) -> Config:
    """`load_config`, with work dir, launcher and data loaders set for the run."""
    if is_student(args.config):
        raise UsageError(
            f'config {args.config} is a student without its data: give the config of its training, and '
            'this as the checkpoint'
        )
    cfg = load_config(args.config, args.cfg_options)
    default_work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir
    set_loggers(cfg)
    check_pipelines(cfg)
    check_few_labels(cfg)
    set_dataloader_defaults(cfg)
    start_processes(cfg, args.launcher, args.local_rank)
    return cfg


def set_dataloader_defaults(cfg: Config) -> None:
    """Give the data loaders the defaults of OpenMMLab's tools, as far as the machine and the task allow.

    Memory is pinned where there is a GPU, workers persist where there are any, and mmpretrain's samples are
    collated into batches in the workers. Settings of the config stay, except for workers that cannot persist.
    """
    for name in DATALOADERS:
        loader = cfg.get(name)
        if loader is None:
            continue
        loader.setdefault('pin_memory', torch.cuda.is_available())
        loader.setdefault('persistent_workers', True)
        if loader.get('num_workers', 0) == 0:
            loader.persistent_workers = False
        # Detection needs mmengine's own default: images of one batch differ in size.
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', {'type': 'default_collate'})


def start_processes(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Prepare a run of several processes.

    With a GPU, the Runner itself joins the processes, by the backend in ``env_cfg.dist_cfg`` (nccl). Without
    one it cannot, so they are joined here by gloo, and the model is wrapped without device ids.

    Args:
        cfg: The config of the run, changed in place.
        launcher: What started the processes: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        local_rank: The rank in the node, if the environment does not say. Defaults to 0.

    Raises:
        UsageError: The launcher's variables are not in the environment.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
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


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: float16 with a dynamic loss scale on a GPU, bfloat16 on the CPU.

    Raises:
        UsageError: The config has an ``optim_wrapper`` of another kind.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    kind = kind if isinstance(kind, str) else kind.__name__
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'CPUAmpOptimWrapper', 'lfi.CPUAmpOptimWrapper'):
        raise UsageError(f'--amp cannot change an optim_wrapper of type {kind}')
    if get_device() == 'cpu':
        wrapper.type = 'lfi.CPUAmpOptimWrapper'
        wrapper.pop('loss_scale', None)
        wrapper.pop('dtype', None)
    else:
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
        # A lazy config names the class itself.
        if 'FSDPStrategy' in str(cfg.get('strategy', {}).get('type')):
            # All processes must leave out the same steps.
            wrapper.use_fsdp = True


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by the batch size of the run over ``auto_scale_lr.base_batch_size``.

    Raises:
        UsageError: The config does not say for which batch size its learning rate was chosen.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise UsageError('--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=...) in the config')
    cfg.auto_scale_lr.enable = True


def write_checkpoints_atomically(cfg: Config) -> None:
    """Write checkpoints by ``AtomicLocalBackend``, unless the config says how, or writes to a remote folder.

    A FlexibleRunner writes in a way of its own, and would use the backend for removing files alone.
    """
    if 'runner_type' in cfg:
        return
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('checkpoint', ConfigDict(type='CheckpointHook', interval=1))
    if hook is not None and not hook.get('file_client_args') and '://' not in (hook.get('out_dir') or ''):
        hook.setdefault('backend_args', {'backend': 'lfi_atomic'})


def set_resume(cfg: Config, resume: str | None) -> None:
    """Say from which checkpoint training goes on.

    Args:
        cfg: The config of the run, changed in place.
        resume: A checkpoint; ``'auto'`` for the last complete one in the work dir, if there is one; None to
            do what the config says.

    Raises:
        UsageError: The named checkpoint does not exist.
    """
    if resume == 'auto' or (resume is None and cfg.get('resume') and not cfg.get('load_from')):
        found = find_checkpoint_to_resume(cfg.work_dir)
        cfg.resume = found is not None
        cfg.load_from = found or cfg.get('load_from')
        print_log(f'Resuming from {found}.' if found else f'Nothing to resume in {cfg.work_dir}.', 'current')
    elif resume is not None:
        require_checkpoint(resume)
        cfg.resume = True
        cfg.load_from = resume
    if cfg.get('resume'):
        hooks = [dict(type='lfi.ResumedStepsHook'), dict(type='lfi.MissedValidationHook')]
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *hooks]


def require_checkpoint(path: str) -> None:
    """Raise a ``UsageError`` if a local checkpoint does not exist."""
    if '://' not in path and not osp.exists(osp.expanduser(path)):
        raise UsageError(f'checkpoint {path} does not exist')


def draw_predictions(cfg: Config, folder: str) -> None:
    """Let the config's visualization hook write images with the predictions to a folder.

    A model that learns from interactions adds pictures of them, in `interactions`.

    Raises:
        UsageError: The config has no such hook.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    interactions = 'teacher' in (cfg.get('model') or {})
    if hook is None and not interactions:
        raise UsageError('--show-dir needs default_hooks.visualization in the config')
    folder = osp.abspath(folder)
    # mmdet and mmpretrain name the same settings differently.
    if hook is not None and hook.type.endswith('DetVisualizationHook'):
        hook.update(draw=True, test_out_dir=folder)
    elif hook is not None:
        hook.update(enable=True, out_dir=folder, interval=1)
    if interactions:
        pictures = dict(
            type='lfi.InteractionVisualizationHook', test_out_dir=osp.join(folder, 'interactions')
        )
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), pictures]


def enable_tta(cfg: Config) -> None:
    """Wrap the model, and change the test pipeline, for test-time augmentation.

    Raises:
        UsageError: The config has no ``tta_model`` or no ``tta_pipeline``.
    """
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise UsageError('--tta needs tta_model and tta_pipeline in the config')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline


def build_runner(cfg: Config) -> Runner:
    """Build the config's Runner, of the type that ``runner_type`` names if it names one."""
    if 'runner_type' not in cfg:
        return Runner.from_cfg(cfg)
    hook: ConfigDict = (cfg.get('default_hooks') or {}).get('checkpoint') or ConfigDict()
    if cfg.runner_type.endswith('FlexibleRunner') and hook.get('save_best'):
        # mmengine (0.10) writes the last checkpoint again with the best one, and then a wrong epoch into it.
        print_log(
            f'save_best={hook.save_best!r} is left out: FlexibleRunner cannot resume with it', 'current'
        )
        hook.save_best = None
    return RUNNERS.build(cfg)


def require_batches(runner: Runner) -> None:
    """Refuse to train on no batch, after which untrained weights would be saved as a finished run.

    Raises:
        UsageError: A training by epochs whose data loader is empty; the message says of what it is made.
    """
    loop = runner.train_loop
    if not isinstance(loop, EpochBasedTrainLoop) or len(loop.dataloader):
        return
    loader = loop.dataloader
    raise UsageError(
        f'train_dataloader has no batch: {len(loader.dataset)} images, {get_world_size()} processes, '
        f'batch_size={loader.batch_size}, drop_last={loader.drop_last}. Set a smaller '
        'train_dataloader.batch_size, or train_dataloader.drop_last=False'
    )


def _set_rank_variables(launcher: str, local_rank: int) -> None:
    """Set torch's variables from the launcher's, so that all launchers look alike."""
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
        env[name]  # noqa: B018  a missing one is a KeyError


def _slurm_port(env: Mapping[str, str]) -> int:
    """A port that all processes of a job step agree on, and other jobs on their nodes hardly have."""
    step = int(env.get('SLURM_JOB_ID', 0)) + int(env.get('SLURM_STEP_ID', 0))
    return SLURM_PORTS.start + step % len(SLURM_PORTS)


def _first_slurm_host(nodes: str) -> str:
    hosts = subprocess.run(
        ['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True
    )
    return hosts.stdout.split()[0]
