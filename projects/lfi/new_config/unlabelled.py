"""Images without labels beside the labelled ones of a new config."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from mmengine.config import Config

from lfi.adaptation.source import Expression
from lfi.models.losses import InteractionDistillLoss

from .tasks.merging import merge, without_delete

FACTOR = 4.0
"""Factor of the loss weights where most images teach by interactions alone. It was the best of five for a
classifier and of three for a detector (docs/few_labels.md)."""
LOSS_WEIGHTS = {
    name: argument.default
    for name, argument in signature(InteractionDistillLoss).parameters.items()
    if name.endswith('_weight')
}
"""Weights of `InteractionDistillLoss` by default."""


def complete_labelled(
    variables: Mapping[str, Any], changes: Mapping[str, Any], cfg: Config
) -> dict[str, Any]:
    """Return changes in which the labelled data set is complete, since a list of data sets inherits nothing.

    Args:
        variables: variables of the config without images that have no labels.
        changes: changes of `lfi adapt --unlabelled`.
        cfg: the loaded config of `variables`.
    """
    loader = changes['train_dataloader']
    labelled, unlabelled = loader['dataset']['datasets']
    if isinstance(labelled, Expression):
        # The pipeline needed no change.
        labelled = cfg.train_dataloader.dataset.to_dict()
    # Roots, classes and paths of annotations stay the expressions that they were.
    own = _without_pipelines(variables['train_dataloader']['dataset'])
    scope = {'_scope_': labelled['_scope_']} if '_scope_' in labelled else {}
    datasets = [without_delete(merge(labelled, own)), {**scope, **unlabelled}]
    return {**changes, 'train_dataloader': {**loader, 'dataset': {**loader['dataset'], 'datasets': datasets}}}


def with_large_weights(interactions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the interactions with loss weights for few labels."""
    loss = {**LOSS_WEIGHTS, **interactions.get('loss', {})}
    return {
        **interactions,
        'loss': {name: value * FACTOR if name in LOSS_WEIGHTS else value for name, value in loss.items()},
    }


def _without_pipelines(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_pipelines(value) if name == 'dataset' else value
        for name, value in config.items()
        if name != 'pipeline'
    }
