"""Config of a segmentor of mmseg."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from lfi.adaptation.source import Expression
from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage
from lfi.new_config.models import BaseModel
from lfi.new_config.settings import Settings

from .classes import with_num_classes
from .detection import own_config, with_leaf
from .weights import weights_of


def segmentation_config(
    data: FoundData, base: BaseModel, settings: Settings, annotations: Path
) -> dict[str, Any]:
    """Write the lists of a segmentor's images, and return the variables of its config.

    Args:
        data: images with masks.
        base: config of mmseg to start from.
        settings: settings of the training.
        annotations: folder for the lists, beside the config.

    Raises:
        UsageError: if images have different suffixes, or `--epochs` is given: mmseg counts iterations.
    """
    assert base.base is not None
    if settings.epochs is not None:
        raise UsageError('--epochs: mmseg counts iterations. Train with --cfg-options train_cfg.max_iters=N')
    cfg = own_config(base.base)
    suffix = _suffix(data)
    images, masks = (PurePosixPath(path).parts[0] for path in (data.train[0].path, data.train[0].mask or ''))
    variables: dict[str, Any] = {
        '_base_': base.base,
        'data_root': str(data.root),
        'classes': list(data.classes),
        'model': with_num_classes(base.model, len(data.classes)),
    }
    if weights := weights_of(base, settings.weights):
        variables['model'].setdefault('backbone', {}).update(weights)
        variables['model']['pretrained'] = None
    for split, samples in (('train', data.train), ('val', data.val)):
        leaf = {
            'type': 'BaseSegDataset',
            'data_root': Expression('data_root'),
            'ann_file': _write_list(annotations / f'{split}.txt', samples, images),
            'data_prefix': {'_delete_': True, 'img_path': images, 'seg_map_path': masks},
            'img_suffix': suffix,
            'seg_map_suffix': '.png',
            'metainfo': {'classes': Expression('classes')},
            'reduce_zero_label': False,
        }
        loader: dict[str, Any] = {'num_workers': settings.workers, 'persistent_workers': settings.workers > 0}
        if settings.batch_size is not None and split == 'train':
            loader['batch_size'] = settings.batch_size
        loader['dataset'] = with_leaf(cfg[f'{split}_dataloader']['dataset'], leaf)
        variables[f'{split}_dataloader'] = loader
    variables['test_dataloader'] = Expression('val_dataloader')
    return variables


def _suffix(data: FoundData) -> str:
    suffixes = {PurePosixPath(image.path).suffix for image in (*data.train, *data.val)}
    if len(suffixes) > 1:
        raise UsageError(
            f'the images have the suffixes {", ".join(sorted(suffixes))}, and mmseg reads one: convert them'
        )
    return suffixes.pop()


def _write_list(file: Path, images: tuple[LabelledImage, ...], folder: str) -> str:
    """Write the names of images without folder and suffix, and return the path in the config."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = (PurePosixPath(image.path).relative_to(folder).with_suffix('') for image in images)
    file.write_text(''.join(f'{name.as_posix()}\n' for name in names), encoding='utf-8')
    return f'{{{{ fileDirname }}}}/{file.parent.name}/{file.name}'
