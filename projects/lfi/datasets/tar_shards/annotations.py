"""Labels of a sample in a tar file: a class, a caption, or objects in COCO's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from lfi.datasets.image_folder import NO_LABEL
from lfi.errors import UsageError
from lfi.structures.labels import UNLABELLED

from .samples import TarSample


def sample_info(sample: TarSample, num_classes: int | None, category_ids: Sequence[int] | None) -> dict:
    """Return the data info of a sample, as the data sets of OpenMMLab have it.

    The member `cls` is the index of the class. The member `txt` is a caption. The member `json` holds an
    image of COCO, with its `annotations`; or a `label`. A sample without a class and without annotations is
    unlabelled.

    Args:
        sample: sample of a tar file.
        num_classes: number of classes; None if unknown.
        category_ids: COCO's id of each class; None if the samples have no objects.

    Raises:
        UsageError: if a label or an annotation cannot be read.
    """
    info: dict[str, Any] = {'img_path': sample.path}
    if 'txt' in sample.members:
        info['caption'] = sample.members['txt'].decode(errors='replace').strip()
    content = _json(sample)
    if category_ids is not None:
        return {**info, **_objects(sample, content, category_ids)}
    label = sample.members.get('cls', content.get('label'))
    if label is None:
        return {**info, 'gt_label': NO_LABEL, UNLABELLED: True}
    return {**info, 'gt_label': _class_index(sample, label, num_classes)}


def _json(sample: TarSample) -> dict[str, Any]:
    if 'json' not in sample.members:
        return {}
    try:
        content = json.loads(sample.members['json'])
    except (ValueError, RecursionError) as error:
        raise UsageError(f'{sample.path}: its member json cannot be read: {error}') from error
    if not isinstance(content, dict):
        raise UsageError(f'{sample.path}: its member json must hold an object')
    return content


def _class_index(sample: TarSample, label: Any, num_classes: int | None) -> int:
    try:
        index = int(label)
    except (TypeError, ValueError):
        index = NO_LABEL
    if index < 0 or (num_classes is not None and index >= num_classes):
        classes = 'of a class' if num_classes is None else f'from 0 to {num_classes - 1}'
        shown = label.decode(errors='replace') if isinstance(label, bytes) else label
        raise UsageError(f'{sample.path}: its label {shown!r} must be an index {classes}')
    return index


def _objects(sample: TarSample, content: Mapping, category_ids: Sequence[int]) -> dict[str, Any]:
    """Return the data info of an image of COCO, by the rules of mmdet's `CocoDataset`."""
    from mmdet.datasets import CocoDataset

    if 'annotations' not in content:
        return {'img_id': sample.path, 'instances': [], UNLABELLED: True}
    reader = SimpleNamespace(
        data_prefix={'img': ''},
        cat_ids=list(category_ids),
        cat2label={category: label for label, category in enumerate(category_ids)},
        return_classes=False,
    )
    image = {**content, 'img_id': content.get('id', sample.path), 'file_name': sample.path}
    try:
        if not isinstance(content['annotations'], list):
            raise TypeError('annotations must be a list')
        if any(type(item['category_id']) is not int for item in content['annotations']):
            raise TypeError('category_id must be an integer')
        return CocoDataset.parse_data_info(
            reader, {'raw_img_info': image, 'raw_ann_info': content['annotations']}
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f'{sample.path}: its member json lacks a field of COCO, or has a wrong one: {error!r}'
        ) from error
