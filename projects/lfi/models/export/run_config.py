"""The config of a run that tests an exported student."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from .student import slim_model

# What belongs to the training alone, beside what begins with `train_`.
TRAINING = (
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'custom_hooks',
    'load_from',
    'resume',
    'work_dir',
    'launcher',
    'strategy',
    'runner_type',
)
# What asks the teacher or the read-out.
ASKS_THE_TEACHER = (
    'InteractionMapsHook',
    'InteractionVisualizationHook',
    'SemanticConsistencyMetric',
)


def model_config(cfg: Config) -> dict:
    """The model's config as MMEngine's Runner completes it, by the run's `data_preprocessor`."""
    if cfg.get('data_preprocessor') is None:
        return cfg.model
    return {'data_preprocessor': cfg.data_preprocessor, **cfg.model}


def slim_config(cfg: Config) -> Config:
    """A config that tests the student which `export_student` gives.

    The model becomes `slim_model`'s. The training's settings, custom hooks, and the hooks and metrics that
    compare the student with its teacher are removed; and the import of `lfi`, where nothing needs it.

    Args:
        cfg: config of the student's training; it is left as it is.

    Raises:
        ValueError: as `slim_model` says.
    """
    slim = ConfigDict({k: v for k, v in cfg.items() if k not in TRAINING and not k.startswith('train_')})
    slim.model = slim_model(model_config(cfg))
    if slim.get('default_hooks'):
        slim.default_hooks = {k: v for k, v in slim.default_hooks.items() if not _asks_the_teacher(v)}
    for split in ('val', 'test'):
        name = f'{split}_evaluator'
        metrics = slim.get(name)
        if not isinstance(metrics, list):
            continue
        slim[name] = [metric for metric in metrics if not _asks_the_teacher(metric)]
        if not slim[name]:
            for part in (name, f'{split}_dataloader', f'{split}_cfg'):
                slim.pop(part, None)
    slim = Config(slim)
    if "'lfi." not in slim.pretty_text and slim.get('custom_imports'):
        imports = [name for name in slim.custom_imports['imports'] if name != 'lfi']
        slim.custom_imports['imports'] = imports
        if not imports:
            slim.pop('custom_imports')
    return slim


def _asks_the_teacher(cfg: dict | None) -> bool:
    return cfg is not None and str(cfg['type']).split('.')[-1] in ASKS_THE_TEACHER
