"""Export of a trained student without the parts that inference does not need."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from lfi.errors import UsageError, as_usage_error
from lfi.models.adapters import interaction_query_adapter
from lfi.models.backbones import InteractionQueryViT
from lfi.models.students.config_facts import is_student
from lfi.models.students.predict_by import ByScores, PredictBy
from lfi.models.students.student import ADDED_ARGUMENTS
from lfi.registry import MODELS
from lfi.utils.config_types import model_config, type_name
from lfi.utils.modules import load_strictly

# Query arguments of `InteractionQueryViT` that mmpretrain's `VisionTransformer` lacks.
QUERY_ARGUMENTS = ('num_queries', 'write_back', 'persistent', 'interaction_layers')
# Other arguments that `VisionTransformer` lacks and that change the outputs.
EXTRA_ARGUMENTS = ('stem', 'window_size', 'use_rel_pos')
NOT_PLAIN_ARGUMENTS = (*EXTRA_ARGUMENTS, 'global_attn_layers', 'with_cp')
# Arguments of models and backbones that name initial weights.
WEIGHT_ARGUMENTS = ('pretrained', 'checkpoint_path')
# Prefixes of weights that a student has only for training and for answers to texts.
REMOVABLE_PREFIXES = ('readout.', 'supervision.', 'control.')


@dataclass(frozen=True)
class ExportedStudent:
    """Result of `export_student`.

    Args:
        model: slim config of the model.
        state: weights of the slim model by name; they load strictly.
        removed: removed weights by name.
    """

    model: ConfigDict
    state: dict[str, Tensor]
    removed: dict[str, Tensor]

    def build(self) -> nn.Module:
        """Build the slim model with its weights, in eval mode; unscoped types belong to the default scope."""
        model = MODELS.build(deepcopy(self.model))
        load_strictly(model, self.state)
        return model.eval()


def export_student(student: nn.Module | Mapping[str, Tensor], cfg: Mapping) -> ExportedStudent:
    """Remove the weights that inference does not need; predictions stay bit-identical.

    The read-out and the losses' parameters are removed, because predictions do not read them. The learned
    queries are removed if `slim_model` can drop them; the backbone is then mmpretrain's `VisionTransformer`.

    Args:
        student: trained model, or its state dict.
        cfg: config of the model.

    Raises:
        ValueError: if the model predicts by its read-out (`lfi.ByTexts`), a type is unknown, or the weights
            do not fit the config.
    """
    state = student.state_dict() if isinstance(student, nn.Module) else student
    model = slim_model(cfg)
    built = MODELS.build(deepcopy(model))
    needed = built.state_dict()
    missing = [name for name in needed if name not in state]
    removed = {name: value for name, value in state.items() if name not in needed}
    removable: tuple[str, ...] = REMOVABLE_PREFIXES if is_student(cfg) else ()
    if _is_adapter(cfg['backbone']):
        removable += ('backbone.interaction.',)
    elif _num_queries(cfg['backbone']):
        removable += ('backbone.interaction_queries',)
    unknown = [name for name in removed if not name.startswith(removable)]
    if missing or unknown:
        raise ValueError(
            f'the weights do not fit the config: missing {missing[:3] or "none"}, unexpected '
            f'{unknown[:3] or "none"}. Give the config that the student was trained with'
        )
    weights = {name: state[name] for name in needed}
    try:
        load_strictly(built, weights)
    except RuntimeError as error:
        differing = [name for name, value in weights.items() if value.shape != needed[name].shape]
        if not differing:
            raise
        shapes = [f'{key} {tuple(weights[key].shape)}, not {tuple(needed[key].shape)}' for key in differing]
        raise ValueError(
            f'the weights do not fit the config: they have {"; ".join(shapes[:3])}. Give the config that the '
            'student was trained with'
        ) from error
    return ExportedStudent(model, weights, removed)


def slim_model(cfg: Mapping) -> ConfigDict:
    """Build the config of a model without teacher, read-out, distillation losses and pretrained weights.

    | backbone | slim backbone |
    | --- | --- |
    | patches do not read learned queries (`write_back='none'`) | `mmpretrain.VisionTransformer` |
    | as above, with a stem, windows or relative positions | `lfi.InteractionQueryViT` without queries |
    | `lfi.InteractionQueryAdapter` without learned queries (`num_queries`) | the adapted backbone |
    | patches, maps or the head read learned queries | unchanged; the model is a `lfi.Student` without parts |

    Args:
        cfg: config of any OpenMMLab model with a `backbone`; unscoped types belong to the default scope.

    Raises:
        ValueError: if the model predicts by its read-out (`lfi.ByTexts`), or a type is unknown.
    """
    _registered(cfg['type'])
    from_student = is_student(cfg)
    unused = ADDED_ARGUMENTS if from_student else ()
    # Some models of mmdet read attributes of the config, not keys.
    slim = ConfigDict({name: deepcopy(value) for name, value in cfg.items() if name not in unused})
    queries_stay = _queries_are_read(cfg['backbone'])
    if _registered(cfg['backbone']['type']) is InteractionQueryViT:
        slim.backbone = _slim_backbone(slim.backbone)
    elif _is_adapter(cfg['backbone']) and not queries_stay:
        slim.backbone = slim.backbone.backbone
    slim = ConfigDict(_without_weights(slim))
    if not from_student:
        return slim
    predict_by = cfg.get('predict_by') or {}
    kind: Any = _registered(predict_by['type']) if 'type' in predict_by else PredictBy
    if kind.needs_readout or issubclass(kind, ByScores):
        raise ValueError(
            f'predict_by={type_name(predict_by)} scores classes by a read-out or a second head, which an '
            'export lacks: set predict_by=None, or keep the student as it is by --to hub'
        )
    if not queries_stay:
        task = slim.pop('task', None)
        # Without a task, the model is a backbone: a classifier without a head.
        slim.type = 'mmpretrain.ImageClassifier' if task is None else task
    return slim


def _slim_backbone(cfg: dict) -> dict:
    if _queries_are_read(cfg):
        return cfg
    if any(cfg.get(name) not in (None, False) for name in EXTRA_ARGUMENTS):
        return {**_without(cfg, *QUERY_ARGUMENTS), 'num_queries': 0, 'write_back': 'none'}
    plain = {**_without(cfg, *QUERY_ARGUMENTS, *NOT_PLAIN_ARGUMENTS), 'type': 'mmpretrain.VisionTransformer'}
    if not isinstance(plain.get('out_indices', -1), int):
        # mmpretrain's backbone modifies the list.
        plain['out_indices'] = list(plain['out_indices'])
    return plain


def _without_weights(cfg: Any) -> Any:
    """Remove the sources of initial weights: the student's weights replace these."""
    if isinstance(cfg, list | tuple):
        return type(cfg)(_without_weights(item) for item in cfg if not _is_pretrained(item))
    if not isinstance(cfg, Mapping):
        return cfg
    names = [name for name in cfg if name not in WEIGHT_ARGUMENTS and not _is_pretrained(cfg[name])]
    slim = {name: _without_weights(cfg[name]) for name in names}
    # The TIMMBackbone of mmseg loads weights by default.
    return {**slim, 'pretrained': False} if type_name(cfg) == 'TIMMBackbone' else slim


def _is_pretrained(value: object) -> bool:
    """Whether a value is an `init_cfg` that loads a checkpoint."""
    return isinstance(value, Mapping) and type_name(value) in ('Pretrained', 'PretrainedInit')


def _queries_are_read(backbone: Mapping) -> bool:
    """Whether the outputs depend on the queries."""
    return backbone.get('write_back', 'gated') != 'none' and _num_queries(backbone) > 0


def _num_queries(backbone: Mapping) -> int:
    has_queries = _registered(backbone['type']) is InteractionQueryViT or _is_adapter(backbone)
    return backbone.get('num_queries', 0) if has_queries else 0


def _is_adapter(backbone: Mapping) -> bool:
    return _registered(backbone['type']) is interaction_query_adapter


def _without(cfg: dict, *names: str) -> dict:
    return {name: value for name, value in cfg.items() if name not in names}


def _registered(name: str | type) -> object:
    if not isinstance(name, str):
        return name
    with MODELS.switch_scope_and_registry(None) as registry:
        kind = registry.get(name) or MODELS.get(name)
    if kind is None:
        raise ValueError(f'type={name!r} is not a registered model')
    return kind


def export_checkpoint(cfg: Config, checkpoint: dict) -> ExportedStudent:
    """Export the student of a run's config and checkpoint, and set the config's default scope.

    Raises:
        UsageError: if the student cannot be exported, or config and checkpoint do not fit.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    if 'backbone' not in (cfg.get('model') or {}):
        raise UsageError('the config has no model.backbone: give the config of a training')
    with as_usage_error(ValueError):
        return export_student(checkpoint['state_dict'], model_config(cfg))
