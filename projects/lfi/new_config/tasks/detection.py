"""Config of a detector of mmdet, for boxes or for instance masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lfi.adaptation.source import Expression
from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.new_config.models import BaseModel
from lfi.new_config.settings import Settings

from .image_size import scale_pipelines
from .merging import merge
from .project_config import inherited_dataloader, inherited_model, own_config
from .schedule import fitting_epochs, fitting_iterations


def detection_config(
    data: FoundData, base: BaseModel, settings: Settings, annotations: Path
) -> dict[str, Any]:
    """Write the annotation files of a detector's data, and return the variables of its config.

    The model's own config gives pipelines, optimizer and schedule.

    Args:
        data: images with objects.
        base: config of mmdet to start from.
        settings: settings of the training.
        annotations: folder for the annotation files, beside the config.

    Raises:
        UsageError: if the model predicts masks, and the data have boxes alone.
    """
    assert base.base is not None
    cfg = own_config(base.base)
    _check_masks(data, base.base, cfg)
    files = {
        split: write_coco(annotations / f'{split}.json', images, data.classes)
        for split, images in (('train', data.train), ('val', data.val))
    }
    variables = inherited_model(data, base, settings)
    for split in ('train', 'val'):
        changes: dict[str, Any] = {
            'ann_file': files[split],
            'data_prefix': {'_delete_': True, 'img': ''},
        }
        if split == 'train':
            # mmdet leaves out images below 32 pixels by default.
            changes['filter_cfg'] = {'filter_empty_gt': False, 'min_size': 1}
        loader = f'{split}_dataloader'
        variables[loader] = inherited_dataloader(cfg[loader]['dataset'], changes, split, settings)
    variables['val_evaluator'] = {'ann_file': files['val']}
    variables['test_dataloader'] = Expression('val_dataloader')
    variables['test_evaluator'] = Expression('val_evaluator')
    if settings.input_size is not None:
        variables = merge(variables, scale_pipelines(cfg, settings.input_size))
        cfg = Config({**cfg, 'custom_hooks': variables.get('custom_hooks', cfg.get('custom_hooks'))})
    if 'max_iters' in cfg['train_cfg']:
        variables.update(fitting_iterations(cfg, settings, data.images_per_epoch))
    else:
        variables.update(fitting_epochs(cfg, settings, data.images_per_epoch))
    # The learning rate of the model's own config is for its own number of GPUs.
    variables['auto_scale_lr'] = {'enable': True}
    checkpoints = {'checkpoint': {'save_best': 'coco/bbox_mAP', 'max_keep_ckpts': 3}}
    variables['default_hooks'] = merge(variables.get('default_hooks', {}), checkpoints)
    return variables


def _check_masks(data: FoundData, base: str, cfg: Config) -> None:
    metrics = cfg.val_evaluator.get('metric') or ()
    if data.task == 'object detection' and 'segm' in metrics:
        raise UsageError(
            f'--model {Path(base).stem} predicts masks, and {data.form} has boxes alone: take a detector of '
            'boxes, such as rtmdet_tiny'
        )


def write_coco(file: Path, images: tuple[LabelledImage, ...], classes: tuple[str, ...]) -> str:
    """Write images and their objects as COCO JSON, and return the path in the config."""
    annotations: list[dict[str, Any]] = []
    for index, image in enumerate(images):
        for item in image.objects:
            box = item['bbox']
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': index,
                    'category_id': item['category'],
                    'bbox': box,
                    'area': item.get('area', box[2] * box[3]),
                    'iscrowd': item['iscrowd'],
                    **({'segmentation': item['segmentation']} if item.get('segmentation') else {}),
                }
            )
    content = {
        'images': [
            {'id': index, 'file_name': image.path, 'width': image.size[0], 'height': image.size[1]}
            for index, image in enumerate(images)
            if image.size
        ],
        'annotations': annotations,
        'categories': [{'id': index, 'name': name} for index, name in enumerate(classes)],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
    return f'{{{{ fileDirname }}}}/{file.parent.name}/{file.name}'
