"""One option sends a run's scalars and pictures to further loggers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict

from lfi.errors import UsageError, nearest

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
