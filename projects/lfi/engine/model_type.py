"""The class of the model that a config names."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import MODELS


def model_type(cfg: Config) -> type | None:
    """The class of `model`, or None where it has none that is registered.

    Args:
        cfg: of a run.
    """
    kind = cfg.model.get('type')
    if not isinstance(kind, str):
        return kind
    scope = cfg.model.get('_scope_') or cfg.get('default_scope') or 'mmengine'
    return MODELS.get(kind if '.' in kind else f'{scope}.{kind}')
