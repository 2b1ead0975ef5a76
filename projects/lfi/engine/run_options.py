"""What the options of training and testing change in a config: `--amp`, `--resume`, `--tta` and the like."""

from __future__ import annotations

import os
import os.path as osp
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log

from lfi.errors import UsageError, nearest
from lfi.utils.config_types import leaves, type_name

from .checkpoints.reading import find_checkpoint_to_resume, load_from_local
from .pipelines import hooks_of

SEG_VISUALIZER = {'type': 'mmseg.SegLocalVisualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]}


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: float16 with a dynamic loss scale on a GPU, bfloat16 on the CPU.

    Raises:
        UsageError: The config has an ``optim_wrapper`` of another kind.
    """
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


def log_validation_by_iteration(cfg: Config) -> None:
    """Log a validation with its iteration where training counts iterations, unless the config says how.

    MMEngine (0.10) logs all validations of such a training as those of step 0.
    """
    loop = cfg.get('train_cfg') or {}
    if not ('max_iters' in loop or loop.get('by_epoch') is False):
        return
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('logger', ConfigDict(type='LoggerHook'))
    if hook is not None:
        hook.setdefault('log_metric_by_epoch', False)


def check_concepts(cfg: Config) -> None:
    """Compare the data set's classes with the concepts of the model's teacher, whatever the config says.

    A config that was written by hand may lack `lfi.ConceptCheckHook`, and nothing would fail.
    `default_hooks=dict(concept_check=None)` leaves it out.
    """
    default = cfg.get('default_hooks') or {}
    if 'teacher' not in cfg.model or 'concept_check' in default:
        return
    if not any(
        type_name(hook) == 'ConceptCheckHook'
        for hook in (*default.values(), *hooks_of(cfg))
        if isinstance(hook, dict)
    ):
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='lfi.ConceptCheckHook')]


def set_resume(cfg: Config, resume: str | None) -> None:
    """Say from which checkpoint training goes on.

    Args:
        cfg: The config of the run, changed in place.
        resume: A checkpoint; ``'auto'`` for the last complete one in the work dir, if there is one; None to
            do what the config says.

    Processes that torchrun has started again go on from the last checkpoint that this training has written.

    Raises:
        UsageError: The named checkpoint does not exist.
    """
    resume = _written_since_start(cfg.work_dir) or resume
    if resume == 'auto' or (resume is None and cfg.get('resume') and not cfg.get('load_from')):
        found = find_checkpoint_to_resume(cfg.work_dir)
        # What the config itself resumes from is where this training begins.
        begins = cfg.get('load_from') if cfg.get('resume') else None
        cfg.resume = bool(found or begins)
        cfg.load_from = found or cfg.get('load_from')
        source = found or begins
        print_log(
            f'Resuming from {source}.' if source else f'Nothing to resume in {cfg.work_dir}.', 'current'
        )
    elif resume is not None:
        require_checkpoint(resume)
        cfg.resume = True
        cfg.load_from = resume
    if cfg.get('resume'):
        _keep_seed(cfg)
        hooks = ('CompleteCheckpointHook', 'ResumedStepsHook', 'MissedValidationHook')
        added = [dict(type=f'lfi.{hook}') for hook in hooks]
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *added]


def _keep_seed(cfg: Config) -> None:
    """Draw the images as the training would have gone on to, where the config itself has no seed.

    MMEngine (0.10) restores the seed after it has built the data loaders.
    """
    source = cfg.get('load_from') or ''
    if (cfg.get('randomness') or {}).get('seed') is not None or not osp.isfile(source):
        return
    seed = (load_from_local(source, 'cpu').get('meta') or {}).get('seed')
    if seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}


def _written_since_start(work_dir: str) -> str | None:
    """The last checkpoint of the processes that died, which `tools/dist_train.sh` has started; or None."""
    started = os.environ.get('LFI_STARTED')
    if started is None or os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') == '0':
        return None
    found = find_checkpoint_to_resume(work_dir)
    return found if found is not None and osp.getmtime(found) >= float(started) else None


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
    interactions = (cfg.get('model') or {}).get('teacher') is not None
    if hook is None and not interactions:
        raise UsageError('--show-dir needs default_hooks.visualization in the config')
    folder = osp.abspath(folder)
    # Each project names the same settings differently.
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
    """Wrap the model, and change the test pipeline, for test-time augmentation.

    Raises:
        UsageError: The config has no ``tta_model`` or no ``tta_pipeline``.
    """
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise UsageError('--tta needs tta_model and tta_pipeline in the config')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for dataset in leaves(cfg.test_dataloader.dataset):
        dataset['pipeline'] = cfg.tta_pipeline


OPTION = 'loggers'


class Logger(NamedTuple):
    """A logger that mmengine knows.

    Args:
        backend: the type of its backend.
        package: that it needs, as pip and Python call it.
        run: the backend's argument that names project and run, and the two names within. Defaults to none.
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
    """Add the backends of `loggers` to the config's visualizer: 'tensorboard', 'wandb', 'mlflow', 'clearml'.

    `--cfg-options loggers=tensorboard,mlflow`, or `loggers = ['tensorboard']` in a config. The option is gone
    afterwards. Projects are called lfi, and runs as the work dir.

    Args:
        cfg: of the run, with its work dir; changed in place.

    Raises:
        UsageError: for an unknown logger, or one whose package is not installed; the message says what to do.
    """
    names = cfg.pop(OPTION, None) or []
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        return
    visualizer = cfg.setdefault('visualizer', ConfigDict(type='Visualizer'))
    # mmengine writes its scalars by the first one.
    backends = visualizer.get('vis_backends') or [ConfigDict(type='LocalVisBackend')]
    known = {backend.type for backend in backends}
    visualizer.vis_backends = [
        *backends,
        *(found for found in (_backend(name, cfg.work_dir) for name in names) if found.type not in known),
    ]


def _backend(name: Any, work_dir: str) -> ConfigDict:
    logger = LOGGERS.get(name)
    if logger is None:
        hint = nearest(str(name), LOGGERS) or f'choose from {", ".join(LOGGERS)}'
        raise UsageError(f'{OPTION}={name!r} is unknown: {hint}')
    if find_spec(logger.package) is None:
        raise UsageError(f'{OPTION}={name!r} needs {logger.package}: pip install {logger.package}')
    backend = ConfigDict(type=logger.backend)
    if logger.run is not None:
        argument, project, run = logger.run
        backend[argument] = {project: 'lfi', run: Path(work_dir).name}
    return backend
