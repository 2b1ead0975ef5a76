"""Test data of a trained model, in any format that `lfi init` reads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from lfi.engine.image_steps import image_steps
from lfi.errors import UsageError, as_usage_error
from lfi.utils.config_types import leaf_configs, type_name

from .labelled_image import FoundData, LabelledImage
from .reading import find_data
from .tasks.classification import classification_metrics, write_labels
from .tasks.detection import write_coco
from .tasks.segmentation import image_suffix, write_names


def set_test_data(cfg: Config, classes: Sequence[str], data: Path, folder: Path) -> None:
    """Set the test data and the evaluator of a config by a data set.

    The images for validation are tested, or all images if the data set has no validation.

    Args:
        cfg: config of a training, or of a saved student, whose test pipeline is kept. Changed in place.
        classes: names of the model's classes, by label.
        data: data set in any format of `lfi init`.
        folder: folder for annotation files.

    Raises:
        UsageError: if the data cannot be read, are for another task, or have a class that the model lacks.
    """
    found = find_data(data, folder)
    pipeline = _test_pipeline(cfg)
    scope = cfg.get('default_scope')
    settings = {'mmpretrain': _classification, 'mmdet': _detection, 'mmseg': _segmentation}.get(scope)
    if settings is None or scope != _scope_of(found):
        raise UsageError(f'--data {data} is for {found.task}, and the model is of {scope}, for another task')
    images = _relabelled_images(found, tuple(classes))
    kind = 'its validation images' if found.val else 'all its images, since it has no validation'
    print_log(f'Test data: {found.root}, {found.form}: {kind}, {len(images):,}', 'current')
    folder.mkdir(parents=True, exist_ok=True)
    dataset, cfg.test_evaluator = settings(cfg, found, images, tuple(classes), folder)
    dataset |= {
        '_scope_': scope,
        'data_root': str(found.root),
        'metainfo': {'classes': list(classes)},
        'pipeline': pipeline,
        'test_mode': True,
    }
    loader = cfg.get('test_dataloader') or {}
    cfg.test_dataloader = {
        'batch_size': loader.get('batch_size', 32 if scope == 'mmpretrain' else 1),
        'num_workers': loader.get('num_workers', 2),
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'dataset': dataset,
    }
    cfg.test_cfg = cfg.get('test_cfg') or {}


def _test_pipeline(cfg: Config) -> list[dict[str, Any]]:
    """Return the steps of the config's test pipeline, and the one that loads masks for a segmentor."""
    loader = cfg.get('test_dataloader')
    pipeline = None if loader is None else next(leaf_configs(loader.dataset)).get('pipeline')
    if pipeline is None:
        raise UsageError('--data needs the test pipeline of the model: its config has no test_dataloader')
    size = (cfg.model.get('backbone') or {}).get('img_size')
    with as_usage_error(ValueError):
        load, transforms, pack = image_steps(pipeline, (size, size) if isinstance(size, int) else size)
    masks = [{'type': 'mmseg.LoadAnnotations'}] if cfg.get('default_scope') == 'mmseg' else []
    # mmseg tests masks at the size of the image's file.
    return [load, *transforms, *masks, pack]


def _scope_of(found: FoundData) -> str:
    if 'classification' in found.task:
        return 'mmpretrain'
    return {'semantic segmentation': 'mmseg', 'pretraining': ''}.get(found.task, 'mmdet')


def _relabelled_images(found: FoundData, classes: tuple[str, ...]) -> tuple[LabelledImage, ...]:
    """Return the images to test, with labels that are indices of the model's classes."""
    unknown = [name for name in found.classes if name not in classes]
    if unknown:
        known = ' | '.join([*classes[:8], *(['…'] if len(classes) > 8 else [])])
        raise UsageError(
            f'{found.root} has the class {unknown[0]!r}, which the model lacks: name the classes as the '
            f'model does, {known}, or leave its images out'
        )
    if found.task == 'semantic segmentation' and found.classes != classes:
        raise UsageError(
            f'{found.root} has the classes {" | ".join(found.classes)} in its masks, and the model '
            f'{" | ".join(classes)}: they must be equal, in the same order'
        )
    label = [classes.index(name) for name in found.classes]
    return tuple(
        image._replace(
            classes=tuple(label[index] for index in image.classes),
            objects=tuple({**item, 'category': label[item['category']]} for item in image.objects),
        )
        for image in found.val or found.train
    )


# Each of these returns the config of the data set, without its pipeline, and that of its evaluator.
def _classification(
    cfg: Config, found: FoundData, images: tuple[LabelledImage, ...], classes: tuple[str, ...], folder: Path
) -> tuple[dict[str, Any], Any]:
    several = 'MultiLabel' in type_name(cfg.model.get('head') or {})
    if found.task == 'multi-label classification' and not several:
        raise UsageError(f'{found.root} has several labels an image, and the model predicts one')
    write_labels(folder, 'test', images, classes, several)
    shown = {index for image in images for index in image.classes}
    absent = [name for index, name in enumerate(classes) if index not in shown]
    if several and absent:
        print_log(
            f'{len(absent)} of {len(classes)} classes are in no image, such as {absent[0]!r}, and have an '
            'average precision of 0 in multi-label/mAP',
            'current',
            logging.WARNING,
        )
    kind = 'MultiLabelDataset' if several else 'CustomDataset'
    file = folder / f'test.{"json" if several else "txt"}'
    return {'type': kind, 'ann_file': str(file.absolute())}, classification_metrics(len(classes), several)


def _detection(
    cfg: Config, found: FoundData, images: tuple[LabelledImage, ...], classes: tuple[str, ...], folder: Path
) -> tuple[dict[str, Any], Any]:
    file = (folder / 'test.json').absolute()
    write_coco(file, images, classes)
    has_masks = all(item.get('segmentation') for image in images for item in image.objects)
    predicts_masks = bool((cfg.model.get('roi_head') or cfg.model).get('mask_head'))
    kinds = ['bbox', 'segm'] if has_masks and predicts_masks else ['bbox']
    evaluator = {'type': 'mmdet.CocoMetric', 'ann_file': str(file), 'metric': kinds, 'format_only': False}
    return {'type': 'CocoDataset', 'ann_file': str(file), 'data_prefix': {'img': ''}}, evaluator


def _segmentation(
    cfg: Config, found: FoundData, images: tuple[LabelledImage, ...], classes: tuple[str, ...], folder: Path
) -> tuple[dict[str, Any], Any]:
    image_folder, mask_folder = (
        PurePosixPath(path).parts[0] for path in (images[0].path, images[0].mask or '')
    )
    file = (folder / 'test.txt').absolute()
    write_names(file, images, image_folder)
    dataset = {
        'type': 'BaseSegDataset',
        'ann_file': str(file),
        'data_prefix': {'img_path': image_folder, 'seg_map_path': mask_folder},
        'img_suffix': image_suffix(images),
        'seg_map_suffix': '.png',
        'reduce_zero_label': False,
    }
    return dataset, {'type': 'mmseg.IoUMetric', 'iou_metrics': ['mIoU']}
