"""A trained student, reduced to what inference needs."""

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
from lfi.models.students.of_config import is_student
from lfi.models.students.student import ARGUMENTS
from lfi.registry import MODELS
from lfi.utils.config_types import model_config, type_name
from lfi.utils.modules import load_strictly

# Arguments of `InteractionQueryViT`, beyond those of mmpretrain's `VisionTransformer`.
INTERACTION = ('num_queries', 'write_back', 'persistent', 'interaction_layers')
# Those without which the plain one computes something else.
OWN_PARTS = ('stem', 'window_size', 'use_rel_pos')
DENSE = (*OWN_PARTS, 'global_attn_layers', 'with_cp')
# Arguments of models and backbones that name weights to begin with.
WEIGHTS = ('pretrained', 'checkpoint_path')
# How the names of weights begin that a student has for training and for answers.
REMOVABLE = ('readout.', 'supervision.', 'control.')


@dataclass(frozen=True)
class ExportedStudent:
    """The return value of `export_student`.

    Args:
        model: The slim config of the model.
        state: Its weights by name; they load strictly.
        removed: The weights that were removed.
    """

    model: ConfigDict
    state: dict[str, Tensor]
    removed: dict[str, Tensor]

    def build(self) -> nn.Module:
        """Build the slim model with its weights, in eval mode; unscoped types are of the default scope."""
        model = MODELS.build(deepcopy(self.model))
        load_strictly(model, self.state)
        return model.eval()


def export_student(student: nn.Module | Mapping[str, Tensor], cfg: Mapping) -> ExportedStudent:
    """Remove what inference does not need; the predictions stay the same, bit for bit.

    The read-out and the losses' parameters are removed: no prediction reads what is asked. So are the
    learned queries where `slim_model` can do without them; the backbone is then mmpretrain's
    `VisionTransformer`.

    Args:
        student: A trained model, or its state dict.
        cfg: Config of the model.

    Raises:
        ValueError: As for `slim_model`, or if the weights are not those of the config.
    """
    state = student.state_dict() if isinstance(student, nn.Module) else student
    model = slim_model(cfg)
    built = MODELS.build(deepcopy(model))
    needed = built.state_dict()
    missing = [name for name in needed if name not in state]
    removed = {name: value for name, value in state.items() if name not in needed}
    removable: tuple[str, ...] = REMOVABLE if is_student(cfg) else ()
    if _is_adapter(cfg['backbone']):
        removable += ('backbone.interaction.',)
    elif _num_queries(cfg['backbone']):
        removable += ('backbone.interaction_queries',)
    unknown = [name for name in removed if not name.startswith(removable)]
    if missing or unknown:
        raise ValueError(
            f'the weights do not fit the config: it needs {missing[:3] or "nothing more"}, and does not know '
            f'{unknown[:3] or "any that it should not"}. Give the config that the student was trained with'
        )
    kept = {name: state[name] for name in needed}
    try:
        load_strictly(built, kept)
    except RuntimeError as error:
        other = [name for name, value in kept.items() if value.shape != needed[name].shape]
        if not other:
            raise
        shapes = [f'{name} {tuple(kept[name].shape)}, not {tuple(needed[name].shape)}' for name in other]
        raise ValueError(
            f'the weights do not fit the config: they have {"; ".join(shapes[:3])}. Give the config that the '
            'student was trained with'
        ) from error
    return ExportedStudent(model, kept, removed)


def slim_model(cfg: Mapping) -> ConfigDict:
    """Make the config of a model without teacher, read-out, distillation losses and pretrained weights.

    | backbone | becomes |
    | --- | --- |
    | patches read no learned queries (`write_back='none'`) | `mmpretrain.VisionTransformer` |
    | the same, with a stem, windows or relative positions | `lfi.InteractionQueryViT` without queries |
    | the backbone in an `lfi.InteractionQueryAdapter` without learned queries (`num_queries`) | itself |
    | patches, maps or the head read them | itself, and the model stays an `lfi.Student` without parts |

    Args:
        cfg: Config of any OpenMMLab model with a `backbone`; unscoped types are of the default scope.

    Raises:
        ValueError: If the model predicts by its read-out (`lfi.ByTexts`), or a type is unknown.
    """
    _registered(cfg['type'])
    of_student = is_student(cfg)
    unused = ARGUMENTS if of_student else ()
    # Some of mmdet's models read attributes, not keys.
    slim = ConfigDict({name: deepcopy(value) for name, value in cfg.items() if name not in unused})
    queries_stay = _queries_are_read(cfg['backbone'])
    if _registered(cfg['backbone']['type']) is InteractionQueryViT:
        slim.backbone = _slim_backbone(slim.backbone)
    elif _is_adapter(cfg['backbone']) and not queries_stay:
        slim.backbone = slim.backbone.backbone
    slim = ConfigDict(_without_weights(slim))
    if not of_student:
        return slim
    predict_by = cfg.get('predict_by') or {}
    if 'type' in predict_by and getattr(_registered(predict_by['type']), 'reads_readout', False):
        raise ValueError(
            f'predict_by={type_name(predict_by)} scores classes by the read-out, which an export leaves out: '
            'export the student with predict_by=None'
        )
    if not queries_stay:
        task = slim.pop('task', None)
        # A backbone alone is a classifier without a head.
        slim.type = 'mmpretrain.ImageClassifier' if task is None else task
    return slim


def _slim_backbone(cfg: dict) -> dict:
    if _queries_are_read(cfg):
        return cfg
    if any(cfg.get(name) not in (None, False) for name in OWN_PARTS):
        return {**_without(cfg, *INTERACTION), 'num_queries': 0, 'write_back': 'none'}
    plain = {**_without(cfg, *INTERACTION, *DENSE), 'type': 'mmpretrain.VisionTransformer'}
    if not isinstance(plain.get('out_indices', -1), int):
        # mmpretrain's backbone changes the list.
        plain['out_indices'] = list(plain['out_indices'])
    return plain


def _without_weights(cfg: Any) -> Any:
    """Leave out whence weights come: the student's own replace those it began with."""
    if isinstance(cfg, list | tuple):
        return type(cfg)(_without_weights(each) for each in cfg if not _is_pretrained(each))
    if not isinstance(cfg, Mapping):
        return cfg
    names = [name for name in cfg if name not in WEIGHTS and not _is_pretrained(cfg[name])]
    kept = {name: _without_weights(cfg[name]) for name in names}
    # That of mmseg loads weights unless it is told not to.
    return {**kept, 'pretrained': False} if type_name(cfg) == 'TIMMBackbone' else kept


def _is_pretrained(value: object) -> bool:
    """Whether it is the `init_cfg` that loads a checkpoint."""
    return isinstance(value, Mapping) and type_name(value) in ('Pretrained', 'PretrainedInit')


def _queries_are_read(backbone: Mapping) -> bool:
    """Whether the outputs depend on the queries."""
    return backbone.get('write_back', 'gated') != 'none' and _num_queries(backbone) > 0


def _num_queries(backbone: Mapping) -> int:
    asked = _registered(backbone['type']) is InteractionQueryViT or _is_adapter(backbone)
    return backbone.get('num_queries', 0) if asked else 0


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


def load_student(cfg: Config, checkpoint: dict) -> ExportedStudent:
    """Make the slim student of a run's config and checkpoint, and set the config's default scope.

    Raises:
        UsageError: If the student cannot be exported, or the two do not fit.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    if 'backbone' not in (cfg.get('model') or {}):
        raise UsageError('the config has no model.backbone: give the config of a training')
    with as_usage_error(ValueError):
        return export_student(checkpoint['state_dict'], model_config(cfg))
