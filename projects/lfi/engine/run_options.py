"""Changes of a config by options of training and testing, such as `--amp`, `--resume` and `--tta`."""

from __future__ import annotations

import logging
import os
import os.path as osp
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log

from lfi.errors import UsageError, did_you_mean
from lfi.utils.config_types import leaf_configs, type_name

from .checkpoints.reading import find_checkpoint_to_resume, load_from_local
from .pipelines import hooks_of

SEG_VISUALIZER = {'type': 'mmseg.SegLocalVisualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]}


def enable_amp(cfg: Config) -> None:
    """Enable mixed precision: float16 with a dynamic loss scale on a GPU, bfloat16 on the CPU.

    Raises:
        UsageError: If the ``optim_wrapper`` is not one of OptimWrapper, AmpOptimWrapper, CPUAmpOptimWrapper;
            or see `check_amp_device`.
    """
    check_amp_device()
    wrapper = cfg.optim_wrapper
    kind = type_name(wrapper) or 'OptimWrapper'
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'CPUAmpOptimWrapper'):
        raise UsageError(f'--amp cannot change an optim_wrapper of type {kind}')
    if get_device() == 'cpu':
        wrapper.type = 'lfi.CPUAmpOptimWrapper'
        wrapper.pop('loss_scale', None)
        wrapper.pop('dtype', None)
    else:
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
        # A lazy config holds the class instead of its name.
        if 'FSDPStrategy' in str(cfg.get('strategy', {}).get('type')):
            # All processes must skip the same steps.
            wrapper.use_fsdp = True


def check_amp_device() -> None:
    """Refuse mixed precision on a device for which MMEngine has none.

    Raises:
        UsageError: If the device is a Mac's GPU.
    """
    if get_device() == 'mps':
        raise UsageError('--amp: MMEngine has no mixed precision on MPS, the GPU of a Mac: leave --amp out')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by the ratio of batch size to ``auto_scale_lr.base_batch_size``.

    Raises:
        UsageError: If the config has no ``auto_scale_lr.base_batch_size``.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise UsageError('--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=...) in the config')
    cfg.auto_scale_lr.enable = True


def write_checkpoints_atomically(cfg: Config) -> None:
    """Write checkpoints by ``AtomicLocalBackend``, unless the config sets a backend or a remote folder.

    A FlexibleRunner is left as it is: it would use the backend only to remove files.
    """
    if 'runner_type' in cfg:
        return
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('checkpoint', ConfigDict(type='CheckpointHook', interval=1))
    if hook is not None and not hook.get('file_client_args') and '://' not in (hook.get('out_dir') or ''):
        hook.setdefault('backend_args', {'backend': 'lfi_atomic'})


def log_validation_by_iteration(cfg: Config) -> None:
    """Log validations by iteration if training counts iterations, unless the config sets this option.

    MMEngine (0.10) logs all validations of such a training as step 0.
    """
    loop = cfg.get('train_cfg') or {}
    if not ('max_iters' in loop or loop.get('by_epoch') is False):
        return
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('logger', ConfigDict(type='LoggerHook'))
    if hook is not None:
        hook.setdefault('log_metric_by_epoch', False)


def add_concept_check(cfg: Config) -> None:
    """Add `lfi.ConceptCheckHook`, which compares classes with concepts, to a config that lacks it.

    A config written by hand may lack the hook, and a mismatch would raise no other error.
    `default_hooks=dict(concept_check=None)` disables it.
    """
    default = cfg.get('default_hooks') or {}
    if 'teacher' not in cfg.model or 'concept_check' in default:
        if default.get('concept_check', ...) is None:
            # MMEngine takes None for hooks of its own alone.
            del cfg.default_hooks['concept_check']
        return
    if not any(
        type_name(hook) == 'ConceptCheckHook'
        for hook in (*default.values(), *hooks_of(cfg))
        if isinstance(hook, dict)
    ):
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='lfi.ConceptCheckHook')]


def add_progress(cfg: Config) -> None:
    """Add `lfi.ProgressHook`, unless `default_hooks` has `progress`; `progress=None` leaves it out."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if hooks.setdefault('progress', ConfigDict(type='lfi.ProgressHook')) is None:
        # MMEngine removes only hooks of its own by None.
        del hooks['progress']


def _note_earlier_checkpoints(work_dir: str) -> None:
    """Warn that a new training overwrites checkpoints of an earlier one."""
    earlier = next(iter(sorted(Path(work_dir).glob('*.pth'))), None)
    if earlier is not None:
        print_log(
            f'{work_dir} has checkpoints of an earlier training, such as {earlier.name}, and this training '
            'overwrites those of the same name. --work-dir names another folder, and --resume goes on',
            'current',
            logging.WARNING,
        )


def set_resume(cfg: Config, resume: str | None) -> None:
    """Set the checkpoint from which training resumes.

    Processes that torchrun has restarted resume from the last checkpoint that this training has written.

    Args:
        cfg: Config of the run, changed in place.
        resume: Path of a checkpoint; ``'auto'`` for the last complete one in the work dir, if there is one;
            None for the setting of the config.

    Raises:
        UsageError: If the checkpoint does not exist.
    """
    resume = _checkpoint_of_launch(cfg.work_dir) or resume
    if resume == 'auto' or (resume is None and cfg.get('resume') and not cfg.get('load_from')):
        last = find_checkpoint_to_resume(cfg.work_dir)
        # Without a checkpoint in the work dir, training resumes from the one that the config names.
        initial = cfg.get('load_from') if cfg.get('resume') else None
        cfg.resume = bool(last or initial)
        cfg.load_from = last or cfg.get('load_from')
        source = last or initial
        print_log(
            f'Resuming from {source}.' if source else f'Nothing to resume in {cfg.work_dir}.', 'current'
        )
    elif resume is not None:
        require_checkpoint(resume)
        cfg.resume = True
        cfg.load_from = resume
    if not cfg.get('resume'):
        _note_earlier_checkpoints(cfg.work_dir)
    if cfg.get('resume'):
        _restore_seed(cfg)
        hooks = ('CompleteCheckpointHook', 'ResumedStepsHook', 'MissedValidationHook')
        added = [dict(type=f'lfi.{hook}') for hook in hooks]
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *added]


def _restore_seed(cfg: Config) -> None:
    """Set the seed to that of the checkpoint if the config has none, to draw images in the same order.

    MMEngine (0.10) restores the seed only after it has built the data loaders.
    """
    source = cfg.get('load_from') or ''
    if (cfg.get('randomness') or {}).get('seed') is not None or not osp.isfile(source):
        return
    seed = (load_from_local(source, 'cpu').get('meta') or {}).get('seed')
    if seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}


def _checkpoint_of_launch(work_dir: str) -> str | None:
    """Return the last checkpoint of this launch of `tools/dist_train.sh` after a restart, or None."""
    started = os.environ.get('LFI_STARTED')
    if started is None or os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') == '0':
        return None
    last = find_checkpoint_to_resume(work_dir)
    return last if last is not None and osp.getmtime(last) >= float(started) else None


def require_checkpoint(path: str) -> None:
    """Raise a ``UsageError`` if a local checkpoint does not exist. URLs are not checked."""
    if '://' not in path and not osp.exists(osp.expanduser(path)):
        raise UsageError(f'checkpoint {path} does not exist')


def enable_drawing(cfg: Config, folder: str) -> None:
    """Let the config's visualization hook write images with predictions to a folder.

    A model with a teacher adds pictures of interactions in the subfolder `interactions`.

    Raises:
        UsageError: If the config has neither a visualization hook nor a teacher.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    interactions = (cfg.get('model') or {}).get('teacher') is not None
    if hook is None and not interactions:
        raise UsageError('--show-dir needs default_hooks.visualization in the config')
    folder = osp.abspath(folder)
    # The projects have different names for these settings.
    hook = ConfigDict() if hook is None else hook
    name = type_name(hook)
    if name.endswith('DetVisualizationHook'):
        hook.update(draw=True, test_out_dir=folder)
    elif name == 'SegVisualizationHook':
        hook.update(draw=True, interval=1)
        cfg.visualizer = {**SEG_VISUALIZER, **(cfg.get('visualizer') or {}), 'save_dir': folder}
    elif name:
        hook.update(enable=True, out_dir=folder, interval=1)
    if interactions:
        pictures = dict(
            type='lfi.InteractionVisualizationHook', test_out_dir=osp.join(folder, 'interactions')
        )
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), pictures]


def enable_tta(cfg: Config) -> None:
    """Wrap the model and replace the test pipeline for test-time augmentation.

    Raises:
        UsageError: If the config has no ``tta_model`` or no ``tta_pipeline``.
    """
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise UsageError('--tta needs tta_model and tta_pipeline in the config')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for dataset in leaf_configs(cfg.test_dataloader.dataset):
        dataset['pipeline'] = cfg.tta_pipeline


OPTION = 'loggers'


class Logger(NamedTuple):
    """A logger, with its visualization backend for mmengine.

    Args:
        backend: type of the visualization backend.
        package: name of the package that the backend needs, in pip and in Python.
        run: (argument of the backend, its key for the project, its key for the run). Defaults to None.
    """

    backend: str
    package: str
    run: tuple[str, str, str] | None = None


LOGGERS = {
    'tensorboard': Logger('TensorboardVisBackend', 'tensorboard'),
    'wandb': Logger('WandbVisBackend', 'wandb', ('init_kwargs', 'project', 'name')),
    'mlflow': Logger('lfi.MLflowVisBackend', 'mlflow'),
    'clearml': Logger('ClearMLVisBackend', 'clearml', ('init_kwargs', 'project_name', 'task_name')),
}


def set_loggers(cfg: Config) -> None:
    """Add the backends of `loggers` to the visualizer: 'tensorboard', 'wandb', 'mlflow', 'clearml'.

    Set `--cfg-options loggers=tensorboard,mlflow`, or `loggers = ['tensorboard']` in a config. The option is
    removed from the config. The project is lfi, and the run has the name of the work dir.

    Args:
        cfg: config of the run with its work dir, changed in place.

    Raises:
        UsageError: if a logger is unknown or its package is not installed.
    """
    names = cfg.pop(OPTION, None) or []
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        return
    visualizer = cfg.setdefault('visualizer', ConfigDict(type='Visualizer'))
    # mmengine's default backend writes scalars.json.
    backends = visualizer.get('vis_backends') or [ConfigDict(type='LocalVisBackend')]
    types = {backend.type for backend in backends}
    new = [_logger_backend(name, cfg.work_dir) for name in names]
    visualizer.vis_backends = [*backends, *(backend for backend in new if backend.type not in types)]


def _logger_backend(name: Any, work_dir: str) -> ConfigDict:
    logger = LOGGERS.get(name)
    if logger is None:
        hint = did_you_mean(str(name), LOGGERS) or f'choose from {", ".join(LOGGERS)}'
        raise UsageError(f'{OPTION}={name!r} is unknown: {hint}')
    if find_spec(logger.package) is None:
        raise UsageError(f'{OPTION}={name!r} needs {logger.package}: pip install {logger.package}')
    backend = ConfigDict(type=logger.backend)
    if logger.run is not None:
        argument, project, run = logger.run
        backend[argument] = {project: 'lfi', run: Path(work_dir).name}
    return backend
