"""The config of a run that tests an exported student."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from lfi.utils.config_types import model_config, type_name

from .slim_student import slim_model

# Settings of the training alone, beside those that begin with `train_`.
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
# Hooks and metrics of LFI: they ask the teacher or the read-out, read features, or watch over the training.
OF_THE_TRAINING = (
    'CompleteCheckpointHook',
    'ConceptCheckHook',
    'FittingWeightsHook',
    'InteractionMapsHook',
    'InteractionVisualizationHook',
    'KNNMetric',
    'LinearProbeMetric',
    'MissedValidationHook',
    'NonFiniteHook',
    'ResumedStepsHook',
    'SemanticConsistencyMetric',
)


def slim_config(cfg: Config) -> Config:
    """Make a config that tests the student which `export_student` returns.

    The model becomes `slim_model`'s. The settings and custom hooks of the training are removed, and LFI's own
    hooks and metrics, which watch over the training or ask the teacher. The import of `lfi` is removed where
    nothing needs it any more.

    Args:
        cfg: Config of the student's training; it is not changed.

    Raises:
        ValueError: As for `slim_model`.
    """
    slim = ConfigDict({k: v for k, v in cfg.items() if k not in TRAINING and not k.startswith('train_')})
    slim.model = slim_model(model_config(cfg))
    if slim.get('default_hooks'):
        slim.default_hooks = {k: v for k, v in slim.default_hooks.items() if not _of_the_training(v)}
    for split in ('val', 'test'):
        name = f'{split}_evaluator'
        metrics = slim.get(name)
        if isinstance(metrics, list):
            slim[name] = [metric for metric in metrics if not _of_the_training(metric)]
        elif isinstance(metrics, dict) and _of_the_training(metrics):
            slim[name] = []
        if metrics is not None and not slim[name]:
            for part in (name, f'{split}_dataloader', f'{split}_cfg'):
                slim.pop(part, None)
    slim = Config(slim)
    if "'lfi." not in slim.pretty_text and slim.get('custom_imports'):
        imports = [name for name in slim.custom_imports['imports'] if name != 'lfi']
        slim.custom_imports['imports'] = imports
        if not imports:
            slim.pop('custom_imports')
    return slim


def _of_the_training(cfg: dict | None) -> bool:
    return cfg is not None and type_name(cfg) in OF_THE_TRAINING
