"""Configs of mmdet and mmseg that a new config inherits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lfi.adaptation.source import Expression
from lfi.new_config.labelled_image import FoundData
from lfi.new_config.models import BaseModel
from lfi.new_config.settings import Settings

from .classes import with_num_classes
from .weights import weights_of


def own_config(base: str) -> Config:
    """Return the config of a project that a `_base_` names."""
    return Config.fromstring(f'_base_ = {base!r}\n', '.py')


def inherited_model(data: FoundData, base: BaseModel, settings: Settings) -> dict[str, Any]:
    """Return the first variables of a config: base, data root, classes, and the model for these classes."""
    model = with_num_classes(base.model, len(data.classes))
    if weights := weights_of(base, settings.weights):
        model.setdefault('backbone', {}).update(weights)
    return {
        '_base_': base.base,
        'data_root': str(data.root),
        'classes': list(data.classes),
        'model': model,
    }


def inherited_dataloader(
    dataset: Mapping[str, Any], changes: Mapping[str, Any], split: str, settings: Settings
) -> dict[str, Any]:
    """Return the changes of a data loader.

    Args:
        dataset: config of the inherited data set.
        changes: changes of the data set inside its wrappers, beside its root and classes.
        split: 'train' or 'val'.
        settings: settings of the training.
    """
    loader: dict[str, Any] = {'num_workers': settings.workers, 'persistent_workers': settings.workers > 0}
    if settings.batch_size is not None and split == 'train':
        loader['batch_size'] = settings.batch_size
    root = {'data_root': Expression('data_root'), 'metainfo': {'classes': Expression('classes')}}
    return {**loader, 'dataset': _inside_wrappers(dataset, {**root, **changes})}


def _inside_wrappers(dataset: Mapping[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {'dataset': _inside_wrappers(dataset['dataset'], changes)} if 'dataset' in dataset else changes
