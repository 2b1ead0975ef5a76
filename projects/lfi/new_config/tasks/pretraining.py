"""Config that pretrains a backbone on images without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lfi.adaptation.backbone import AdaptedBackbone
from lfi.adaptation.source import Call, Expression
from lfi.new_config.labelled_image import FoundData
from lfi.new_config.models import BaseModel
from lfi.new_config.settings import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Settings,
    default_batch_size,
    default_epochs,
)
from lfi.structures import CACHE_KEYS

from .classification import PATCH_AVERAGE, test_pipeline
from .input_size import choose_input_size, with_image_size
from .schedule import RATE, adamw_schedule
from .weights import starts_random, weights_of

RATE_WITH_BATCH_NORM = 1e-3
"""Learning rate at 32 images a step, from random weights (docs/decisions.md)."""
EVALUATION_INTERVAL = 10
"""Epochs from one evaluation on labelled images to the next."""


def pretraining_config(
    data: FoundData,
    base: BaseModel,
    adapted: AdaptedBackbone,
    teacher: Call,
    interactions: dict[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """Return the variables of a config that pretrains a backbone.

    Args:
        data: images without labels.
        base: classifier whose backbone is pretrained.
        adapted: the backbone with queries.
        teacher: call of the teacher's config.
        interactions: config of the interactions.
        settings: settings of the training.
    """
    size = choose_input_size(base.model['backbone'], data, settings)
    batch_size = settings.batch_size or default_batch_size(len(data.train))
    backbone = base.model['backbone'] | with_image_size(base.model['backbone'], size)
    backbone |= weights_of(base, settings.weights)
    rate = RATE_WITH_BATCH_NORM if adapted.has_batch_norm and starts_random(backbone) else RATE
    changes = {name: value for name, value in adapted.changes.items() if name != '_delete_'}
    if adapted.adds_layers:
        backbone = {**changes, 'backbone': backbone}
    else:
        backbone = {**backbone, **changes, **PATCH_AVERAGE}
    loader = {
        'batch_size': batch_size,
        'num_workers': settings.workers,
        'persistent_workers': settings.workers > 0,
    }
    if settings.labelled is None:
        evaluation = _no_evaluation(loader)
    else:
        evaluation = _evaluation(settings.labelled, loader)
    return {
        '_base_': 'lfi::_base_/default_runtime.py',
        'data_root': str(data.root),
        'data_preprocessor': {
            '_scope_': 'mmpretrain',
            'type': 'ClsDataPreprocessor',
            'mean': IMAGENET_MEAN,
            'std': IMAGENET_STD,
            'to_rgb': True,
        },
        'model': {
            '_scope_': 'mmpretrain',
            'type': 'lfi.Student',
            'backbone': backbone,
            'teacher': teacher,
            'supervision': {'interactions': interactions},
        },
        'train_pipeline': [
            {'type': 'LoadImageFromFile'},
            {
                '_scope_': 'mmpretrain',
                'type': 'lfi.RecordView',
                'transforms': [
                    {'type': 'RandomResizedCrop', 'scale': size, 'crop_ratio_range': (0.35, 1.0)},
                    {'type': 'RandomFlip', 'prob': 0.5, 'direction': 'horizontal'},
                ],
            },
            {'type': 'lfi.LoadInteractionMaps'},
            {'_scope_': 'mmpretrain', 'type': 'PackInputs', 'algorithm_keys': CACHE_KEYS},
        ],
        'test_pipeline': test_pipeline(size),
        'train_dataloader': {
            **loader,
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'dataset': _images('train_pipeline'),
        },
        **adamw_schedule(
            settings.epochs or default_epochs(len(data.train)),
            batch_size,
            len(data.train),
            rate,
        ),
        **evaluation,
        'test_cfg': {},
        'default_hooks': {'checkpoint': {'save_best': None}},
        'custom_hooks': [],
    }


def _no_evaluation(loader: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a training without evaluation, and of images to ask the model about."""
    return {
        'test_dataloader': {
            **loader,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'dataset': _images('test_pipeline'),
        },
        'test_evaluator': [],
        'val_cfg': None,
    }


def _evaluation(folder: str, loader: dict[str, Any]) -> dict[str, Any]:
    """Return the variables that evaluate the backbone: one half of the images classifies the other half."""
    return {
        'labelled_root': str(Path(folder).expanduser().resolve()),
        'val_dataloader': {
            **loader,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'dataset': {
                '_scope_': 'mmpretrain',
                'type': 'CustomDataset',
                'data_root': Expression('labelled_root'),
                'with_label': True,
                'pipeline': Expression('test_pipeline'),
            },
        },
        'val_evaluator': [{'type': 'lfi.KNNMetric'}, {'type': 'lfi.LinearProbeMetric'}],
        'val_cfg': {},
        'train_cfg': {
            'by_epoch': True,
            'max_epochs': Expression('max_epochs'),
            'val_interval': EVALUATION_INTERVAL,
        },
        'test_dataloader': Expression('val_dataloader'),
        'test_evaluator': Expression('val_evaluator'),
    }


def _images(pipeline: str) -> dict[str, Any]:
    return {
        '_scope_': 'mmpretrain',
        'type': 'lfi.ImageFolder',
        'data_root': Expression('data_root'),
        'pipeline': Expression(pipeline),
    }
