"""Models of mmpretrain, mmdet, mmseg and timm by the names that their users know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import timm
from mmengine.config import Config

from lfi.errors import UsageError, similar_names

INSTALL = {'mmseg': "pip install 'lfi[segmentation]'", 'mmdet': "pip install 'lfi[onedl]'"}

SMALL_VITS = {'vit-tiny-p16': 'deit-tiny', 'vit-small-p16': 'deit-small'}
"""Names of ViTs that mmpretrain has as DeiT alone; its configs of these names freeze MoCo v3's weights."""


class BaseModel(NamedTuple):
    """Model that a written config starts from.

    Args:
        base: `_base_` of the model's config; None for a model of timm.
        model: the model's config.
    """

    base: str | None
    model: dict[str, Any]


def find_classifier(name: str) -> BaseModel:
    """Find a classifier: a file of mmpretrain's `_base_/models`, a model of timm, or a config of mmpretrain.

    `deit-tiny` finds mmpretrain's config `deit-tiny_4xb256_in1k`, of several the one with the shortest name.

    Raises:
        UsageError: if neither project has the model.
    """
    name = SMALL_VITS.get(_normalised(name), name)
    folder = _configs('mmpretrain') / '_base_/models'
    files = dict(_classifier_files(folder))
    file = files.get(_normalised(name))
    if file is not None:
        model = Config.fromfile(file).model.to_dict()
        if model.get('type') == 'ImageClassifier' and 'num_classes' in (model.get('head') or {}):
            return BaseModel(f'mmpretrain::_base_/models/{file.relative_to(folder).as_posix()}', model)
    for candidate in dict.fromkeys((name, name.removeprefix('timm/'), name.replace('-', '_'))):
        if timm.is_model(candidate):
            return BaseModel(None, _timm_classifier(candidate))
    configs = _named_configs('mmpretrain')
    for file in _fitting(configs, name):
        model = Config.fromfile(file).get('model', {})
        if model.get('type') == 'ImageClassifier' and 'num_classes' in (model.get('head') or {}):
            return BaseModel(None, {'_scope_': 'mmpretrain', **model.to_dict()})
    known = dict.fromkeys([*files, *timm.list_models(), *configs])
    similar = get_close_matches(_normalised(name), known, n=3, cutoff=0.5)
    raise UsageError(f'--model {name} is no model of mmpretrain or timm; {similar_names(similar)}')


def find_dense_model(name: str, package: str) -> BaseModel:
    """Find a detector of mmdet, or a segmentor of mmseg, by the name of a config or the start of it.

    `rtmdet-tiny` and `faster-rcnn_r50` find the configs `rtmdet_tiny_8xb32-300e_coco` and
    `faster-rcnn_r50_fpn_1x_coco`: of several configs the one with the shortest name.

    Args:
        name: name of the model.
        package: 'mmdet' or 'mmseg'.

    Raises:
        UsageError: if the package is not installed, or has no such config.
    """
    folder, configs = _configs(package), _named_configs(package)
    fitting = _fitting(configs, name)
    if not fitting:
        known = [key for key in configs if not key.endswith('-tta')]
        similar = get_close_matches(_normalised(name), known, n=3, cutoff=0.4)
        raise UsageError(
            f'--model {name} is no config of {package}; '
            f'{similar_names([configs[key].stem for key in similar])}'
        )
    for file in fitting:
        cfg = Config.fromfile(file)
        # Configs of test-time augmentation have no model, and some projects no data.
        is_complete = isinstance(cfg.get('model'), dict) and isinstance(cfg.get('train_dataloader'), dict)
        if is_complete and isinstance(cfg.model.get('backbone'), dict):
            return BaseModel(f'{package}::{file.relative_to(folder).as_posix()}', cfg.model.to_dict())
    stems = ', '.join(file.stem for file in fitting)
    raise UsageError(
        f'--model {name}: the configs {stems} of {package} have no backbone, or no training data'
    )


def _named_configs(package: str) -> dict[str, Path]:
    """Return the configs of a project that train a model, by their names."""
    files = sorted(_configs(package).rglob('*.py'))
    return {_normalised(file.stem): file for file in files if '_base_' not in file.parts}


def _fitting(configs: dict[str, Path], name: str) -> list[Path]:
    """Return the configs whose names begin with a name, the shortest first."""
    wanted = _normalised(name)
    fitting = [key for key in configs if key == wanted or key.startswith(f'{wanted}-')]
    return [configs[key] for key in sorted(fitting, key=lambda key: (len(key), key))]


def _classifier_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield names of the base models with their files: `resnet18`, `convnext-tiny`, `swin-tiny`."""
    for file in sorted(folder.rglob('*.py'), reverse=True):
        stem = _normalised(file.stem)
        yield stem, file
        family = _normalised(file.parent.name).removesuffix('-transformer')
        if file.parent != folder:
            # swin_transformer/tiny_224.py is `swin-tiny-224`, and `swin-tiny`.
            full = stem if stem.startswith(family) else f'{family}-{stem}'
            yield full, file
            yield re.sub(r'-(224|256)$', '', full), file


def _timm_classifier(name: str) -> dict[str, Any]:
    """Return a classifier of mmpretrain with a backbone of timm, which gives its last feature map.

    Raises:
        UsageError: if timm gives no feature maps of the model.
    """
    try:
        info: Any = timm.create_model(name, pretrained=False, features_only=True).feature_info
    # timm raises errors of any type for models without feature maps.
    except Exception as error:
        raise UsageError(f'--model {name}: timm gives no feature maps of it: {error}') from error
    last = len(info) - 1
    return {
        '_scope_': 'mmpretrain',
        'type': 'ImageClassifier',
        'backbone': {
            'type': 'TIMMBackbone',
            'model_name': name,
            'features_only': True,
            'out_indices': (last - 1, last) if last else (last,),
        },
        'neck': {'type': 'GlobalAveragePooling'},
        'head': {
            'type': 'LinearClsHead',
            'num_classes': 1000,
            'in_channels': info.channels()[-1],
            'loss': {'type': 'CrossEntropyLoss', 'loss_weight': 1.0},
            'topk': (1,),
        },
    }


def _configs(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UsageError(f'the data need {package}, which is not installed: {INSTALL[package]}')
    return Path(spec.origin).parent / '.mim/configs'


def _normalised(name: str) -> str:
    return name.lower().replace('_', '-').removesuffix('.py')
