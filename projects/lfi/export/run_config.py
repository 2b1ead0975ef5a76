"""Config that tests an exported student."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from lfi.utils.config_types import model_config, type_name

from .slim_student import slim_model

# Settings that only training uses, beside those that begin with `train_`.
TRAINING_KEYS = (
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
# Hooks and metrics of LFI that need the teacher, the read-out, features or the training loop.
TRAINING_TYPES = (
    'CompleteCheckpointHook',
    'ConceptCheckHook',
    'FittingWeightsHook',
    'InteractionMapsHook',
    'InteractionVisualizationHook',
    'KNNMetric',
    'LinearProbeMetric',
    'MissedValidationHook',
    'NonFiniteHook',
    'ProgressHook',
    'ResumedStepsHook',
    'StreamResumeHook',
    'SemanticConsistencyMetric',
)


def slim_config(cfg: Config) -> Config:
    """Build the config that tests a student from `export_student`.

    The model becomes that of `slim_model`. Settings of the training, custom hooks, and LFI's hooks and
    metrics are removed. The import of `lfi` is removed if the config no longer needs it.

    Args:
        cfg: config of the student's training; not modified.

    Raises:
        ValueError: if the model predicts by its read-out (`lfi.ByTexts`), or a type is unknown.
    """
    slim = ConfigDict({k: v for k, v in cfg.items() if k not in TRAINING_KEYS and not k.startswith('train_')})
    slim.model = slim_model(model_config(cfg))
    if slim.get('default_hooks'):
        slim.default_hooks = {k: v for k, v in slim.default_hooks.items() if not _is_for_training(v)}
    for split in ('val', 'test'):
        name = f'{split}_evaluator'
        metrics = slim.get(name)
        if isinstance(metrics, list):
            slim[name] = [metric for metric in metrics if not _is_for_training(metric)]
        elif isinstance(metrics, dict) and _is_for_training(metrics):
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


def _is_for_training(cfg: dict | None) -> bool:
    return cfg is not None and type_name(cfg) in TRAINING_TYPES
