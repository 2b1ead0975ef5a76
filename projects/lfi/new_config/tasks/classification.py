"""Config of a classifier, with one label or several for each image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lfi.adaptation.source import Expression
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.new_config.models import BaseModel
from lfi.new_config.settings import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Settings,
    default_batch_size,
    default_epochs,
)

from .classes import with_num_classes
from .input_size import choose_input_size, with_image_size
from .merging import merge, without_delete
from .schedule import adamw_schedule
from .weights import is_pretrained_vit, weights_of

MULTI_LABEL_HEAD = {'type': 'MultiLabelLinearClsHead', '_delete_': True}
PATCH_AVERAGE = {'out_type': 'avg_featmap', 'final_norm': False}
"""Options of mmpretrain's ViT whose image feature is the average of its patches, which interactions train."""
DISTILLED_HEADS = ('EfficientFormerClsHead', 'LeViTClsHead')


def classification_config(
    data: FoundData, base: BaseModel, settings: Settings, annotations: Path
) -> dict[str, Any]:
    """Write the annotation files of a classifier's data, and return the variables of its config.

    Args:
        data: images with classes.
        base: model to start from.
        settings: settings of the training.
        annotations: folder for the annotation files, beside the config.
    """
    several = data.task == 'multi-label classification'
    size = choose_input_size(base.model['backbone'], data, settings)
    number = data.images_per_epoch
    batch_size = settings.batch_size or default_batch_size(number)
    variables: dict[str, Any] = {
        '_base_': [*([base.base] if base.base else ()), 'lfi::_base_/default_runtime.py'],
        'data_root': str(data.root),
        'classes': list(data.classes),
        'data_preprocessor': {
            '_scope_': 'mmpretrain',
            'type': 'ClsDataPreprocessor',
            'num_classes': len(data.classes),
            'mean': IMAGENET_MEAN,
            'std': IMAGENET_STD,
            'to_rgb': True,
        },
        'model': _model(base, settings, len(data.classes), several, size),
        'train_pipeline': _train_pipeline(size),
        'test_pipeline': test_pipeline(size),
    }
    for split, images in (('train', data.train), ('val', data.val)):
        file = write_labels(annotations, split, images, data.classes, several)
        variables[f'{split}_dataloader'] = _dataloader(split, file, batch_size, settings.workers, several)
    if settings.labels_per_class is not None:
        variables['train_dataloader']['few_labels'] = {'labels_per_class': settings.labels_per_class}
    if base.model['backbone']['type'] == 'TIMMBackbone':
        # ClassNumCheckHook would refuse the backbone, which has 0 classes.
        variables['custom_hooks'] = []
    if several:
        variables['default_hooks'] = {'checkpoint': {'save_best': 'multi-label/mAP'}}
    return {
        **variables,
        'val_evaluator': classification_metrics(len(data.classes), several),
        'test_dataloader': Expression('val_dataloader'),
        'test_evaluator': Expression('val_evaluator'),
        **adamw_schedule(
            settings.epochs or default_epochs(data.images_per_epoch), batch_size, data.images_per_epoch
        ),
        'val_cfg': {},
        'test_cfg': {},
    }


def classification_metrics(num_classes: int, several: bool) -> Any:
    """Return the evaluator of a classifier, with several labels an image or one."""
    if several:
        return [{'type': 'mmpretrain.AveragePrecision'}, {'type': 'mmpretrain.MultiLabelMetric', 'thr': 0.5}]
    return {'type': 'mmpretrain.Accuracy', 'topk': (1, 5) if num_classes > 5 else (1,)}


def _model(base: BaseModel, settings: Settings, num_classes: int, several: bool, size: int) -> dict[str, Any]:
    """Return the changes of the base model, or the complete model without a base."""
    changes = with_num_classes(base.model, num_classes)
    head = base.model['head']
    if several:
        changes['head'] = {
            **MULTI_LABEL_HEAD,
            'num_classes': num_classes,
            'in_channels': head['in_channels'],
        }
    elif 'topk' in head:
        changes['head']['topk'] = (1, 5) if num_classes > 5 else (1,)
    backbone = {**with_image_size(base.model['backbone'], size), **weights_of(base, settings.weights)}
    if is_pretrained_vit(base, settings.weights):
        backbone |= PATCH_AVERAGE
    if backbone:
        changes['backbone'] = {**changes.get('backbone', {}), **backbone}
    if head['type'] in DISTILLED_HEADS and not several:
        # By default they want a teacher of their own, and mmpretrain cannot train them so.
        changes['head']['distillation'] = False
    if base.model.get('train_cfg') and (several or settings.labels_per_class is not None):
        # Images without a label, or with several, are not mixed.
        changes['train_cfg'] = None
    return without_delete(merge(base.model, changes)) if base.base is None else changes


def _train_pipeline(size: int) -> list[dict[str, Any]]:
    return [
        {'type': 'LoadImageFromFile'},
        {'type': 'RandomResizedCrop', 'scale': size, 'crop_ratio_range': (0.35, 1.0)},
        {'type': 'RandomFlip', 'prob': 0.5, 'direction': 'horizontal'},
        {'type': 'PackInputs'},
    ]


def test_pipeline(size: int) -> list[dict[str, Any]]:
    """Return the steps of a test image: its centre, with the shorter side 8/7 of the crop's."""
    return [
        {'type': 'LoadImageFromFile'},
        {'type': 'ResizeEdge', 'scale': round(size * 8 / 7), 'edge': 'short'},
        {'type': 'CenterCrop', 'crop_size': size},
        {'type': 'PackInputs'},
    ]


def _dataloader(split: str, file: str, batch_size: int, workers: int, several: bool) -> dict[str, Any]:
    kind = 'mmpretrain.MultiLabelDataset' if several else 'mmpretrain.CustomDataset'
    return {
        'batch_size': batch_size,
        'num_workers': workers,
        'persistent_workers': workers > 0,
        'sampler': {'type': 'DefaultSampler', 'shuffle': split == 'train'},
        'dataset': {
            '_scope_': 'mmpretrain',
            'type': kind,
            'data_root': Expression('data_root'),
            'ann_file': file,
            'metainfo': {'classes': Expression('classes')},
            'pipeline': Expression('train_pipeline' if split == 'train' else 'test_pipeline'),
        },
    }


def write_labels(
    folder: Path, split: str, images: tuple[LabelledImage, ...], classes: tuple[str, ...], several: bool
) -> str:
    """Write the annotation file of a split, and return its path in the config."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f'{split}.{"json" if several else "txt"}'
    if several:
        samples = [{'img_path': image.path, 'gt_label': list(image.classes)} for image in images]
        content = {'metainfo': {'classes': list(classes)}, 'data_list': samples}
        file.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
    else:
        lines = (f'{image.path} {image.classes[0]}\n' for image in images)
        file.write_text(''.join(lines), encoding='utf-8')
    return f'{{{{ fileDirname }}}}/{folder.name}/{file.name}'
