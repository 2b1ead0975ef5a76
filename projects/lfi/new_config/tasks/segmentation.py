"""Config of a segmentor of mmseg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lfi.adaptation.source import Expression
from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.new_config.models import BaseModel
from lfi.new_config.settings import Settings
from lfi.utils.config_types import leaf_configs

from .image_size import scaled_sizes
from .merging import merge
from .project_config import inherited_dataloader, inherited_model, own_config
from .schedule import fitting_iterations


def segmentation_config(
    data: FoundData, base: BaseModel, settings: Settings, annotations: Path
) -> dict[str, Any]:
    """Write the lists of a segmentor's images, and return the variables of its config.

    mmseg's schedules are of many iterations. Few images get fewer.

    Args:
        data: images with masks.
        base: config of mmseg to start from.
        settings: settings of the training.
        annotations: folder for the lists, beside the config.

    Raises:
        UsageError: if images have different suffixes.
    """
    assert base.base is not None
    cfg = own_config(base.base)
    side = max(cfg['model']['data_preprocessor'].get('size') or cfg['crop_size'])
    factor = 1.0 if settings.input_size is None else settings.input_size / side
    suffix = image_suffix((*data.train, *data.val))
    images, masks = (PurePosixPath(path).parts[0] for path in (data.train[0].path, data.train[0].mask or ''))
    variables = inherited_model(data, base, settings)
    if settings.weights is not None:
        variables['model']['pretrained'] = None
    for split, samples in (('train', data.train), ('val', data.val)):
        changes: dict[str, Any] = {
            'type': 'BaseSegDataset',
            'ann_file': write_names(annotations / f'{split}.txt', samples, images),
            'data_prefix': {'_delete_': True, 'img_path': images, 'seg_map_path': masks},
            'img_suffix': suffix,
            'seg_map_suffix': '.png',
            'reduce_zero_label': False,
        }
        dataset = cfg[f'{split}_dataloader']['dataset']
        if pipeline := next(leaf_configs(dataset.to_dict())).get('pipeline'):
            steps = pipeline if factor == 1 else scaled_sizes(pipeline, factor)
            changes['pipeline'] = [_with_all_labels(step) for step in steps]
        variables[f'{split}_dataloader'] = inherited_dataloader(dataset, changes, split, settings)
    variables['test_dataloader'] = Expression('val_dataloader')
    if factor != 1:
        variables['model'] = merge(variables['model'], _scaled_model(cfg['model'], factor))
    variables.update(fitting_iterations(cfg, settings, data.images_per_epoch))
    variables['default_hooks']['checkpoint'] |= {'max_keep_ckpts': 3, 'save_best': 'mIoU'}
    return variables


def _scaled_model(model: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the changes of a model's padded size, and of the windows in which it predicts."""
    changes: dict[str, Any] = {}
    if model['data_preprocessor'].get('size'):
        changes['data_preprocessor'] = scaled_sizes({'size': model['data_preprocessor']['size']}, factor)
    windows = {name: model['test_cfg'][name] for name in ('crop_size', 'stride') if name in model['test_cfg']}
    if windows:
        changes['test_cfg'] = {
            name: scaled_sizes({'size': value}, factor)['size'] for name, value in windows.items()
        }
    return changes


def _with_all_labels(step: dict[str, Any]) -> dict[str, Any]:
    """Turn off the option of ADE20K's configs that ignores the first class."""
    return {**step, 'reduce_zero_label': False} if step.get('reduce_zero_label') else step


def image_suffix(images: Sequence[LabelledImage]) -> str:
    """Return the suffix of the image files; raise a UsageError if they have several."""
    suffixes = {PurePosixPath(image.path).suffix for image in images}
    if len(suffixes) > 1:
        raise UsageError(
            f'the images have the suffixes {", ".join(sorted(suffixes))}, and mmseg reads one: convert them'
        )
    return suffixes.pop()


def write_names(file: Path, images: tuple[LabelledImage, ...], folder: str) -> str:
    """Write the names of images without folder and suffix, and return the path in the config."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = (PurePosixPath(image.path).relative_to(folder).with_suffix('') for image in images)
    file.write_text(''.join(f'{name.as_posix()}\n' for name in names), encoding='utf-8')
    return f'{{{{ fileDirname }}}}/{file.parent.name}/{file.name}'
