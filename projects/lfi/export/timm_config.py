"""Head, pixel format, image size and class names of a student in timm's weights and config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lfi.models.batches.pixel_format import pixel_format_of
from lfi.utils.config_types import configs_in, leaf_configs, type_name

SIZED_STEPS = ('CenterCrop', 'RandomResizedCrop', 'Resize')
"""Steps of a pipeline that give all images one size, by `crop_size` or `scale`."""


def add_head_and_pixels(
    student: nn.Module, weights: Mapping[str, Tensor], head: nn.Linear | None, config: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict]:
    """Add head and pixel format of a student to a backbone's weights and config, and return both.

    Args:
        student: model from `ExportedStudent.build`.
        weights: weights of the backbone, by timm's names.
        head: linear layer of the student, or None.
        config: config of timm without classes, mean and std.

    Raises:
        ValueError: if the student's images do not have three channels.
    """
    state, pretrained_cfg = dict(weights), config['pretrained_cfg']
    first = f'{pretrained_cfg["first_conv"]}.weight'
    num_channels = state[first].shape[1]
    if num_channels != 3:
        raise ValueError(f"timm's config needs RGB images; the student's images have {num_channels} channels")
    pixel_format = pixel_format_of(student.get_submodule('data_preprocessor'))
    channels = slice(None) if pixel_format.rgb else slice(None, None, -1)
    if not pixel_format.rgb:
        state[first] = state[first].flip(1)
    classes = dict(num_classes=0 if head is None else head.out_features)
    if head is not None:
        state.update({f'{pretrained_cfg["classifier"]}.{k}': value for k, value in head.state_dict().items()})
    mean, std = (
        [value / 255 for value in values[channels]] for values in (pixel_format.mean, pixel_format.std)
    )
    return state, {
        **config,
        **classes,
        'model_args': {**config['model_args'], **classes, 'global_pool': config['global_pool']},
        # The tag tells timm that the weights are not the architecture's published weights.
        'pretrained_cfg': {'tag': 'lfi', **pretrained_cfg, **classes, 'mean': mean, 'std': std},
    }


def add_data_facts(
    config: Mapping[str, Any], cfg: Mapping[str, Any], dataset_meta: Mapping
) -> dict[str, Any]:
    """Add the size of the images and the names of the classes to timm's config, and return it.

    Args:
        config: config from `to_timm`.
        cfg: config of the training.
        dataset_meta: facts about the data set in the checkpoint, such as its `classes`; may be empty.
    """
    added = dict(config)
    size = None if config['pretrained_cfg'].get('fixed_input_size') else image_size(cfg)
    if size is not None:
        added['pretrained_cfg'] = {**config['pretrained_cfg'], 'input_size': [3, *size]}
    names = dataset_meta.get('classes') or _classes_of_config(cfg)
    if names and len(names) == config['num_classes']:
        added['label_names'] = list(map(str, names))
    return added


def image_size(cfg: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width of a model's images, by the pipelines of test or training; None if unknown.

    Args:
        cfg: config of the training.
    """
    for name in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        datasets = list(leaf_configs((cfg.get(name) or {}).get('dataset')))
        steps = [step for dataset in datasets for step in configs_in(dataset.get('pipeline') or ())]
        for step in reversed(steps):
            size = step.get('crop_size', step.get('scale'))
            if type_name(step) not in SIZED_STEPS or step.get('keep_ratio'):
                continue
            if isinstance(size, int):
                return size, size
            if isinstance(size, list | tuple) and len(size) == 2:
                # mmpretrain's crop is (height, width), the sizes of mmcv are (width, height).
                height, width = size if type_name(step) == 'RandomResizedCrop' else reversed(size)
                return height, width
    return None


def _classes_of_config(cfg: Mapping[str, Any]) -> Sequence[str]:
    for name in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        for dataset in leaf_configs((cfg.get(name) or {}).get('dataset')):
            names = (dataset.get('metainfo') or {}).get('classes', dataset.get('classes'))
            if isinstance(names, list | tuple):
                return names
    return ()
