"""The config of an open_clip model in a folder, read and checked, and how it differs from another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import open_clip
from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.coca_model import MultimodalCfg

from lfi.utils.fileio import read_start

FILE = 'open_clip_config.json'
TOKENIZER_FILES = 'tokenizer.json and tokenizer_config.json'
"""Files of a tokenizer of `transformers`."""
TOKENIZER_OPTIONS = ('clean', 'strip_sep_token', 'language')
"""Options of tokenizers that open_clip's own configs have."""
NAMES = ('vision_cfg.timm_model_name', 'text_cfg.hf_model_name', 'text_cfg.hf_tokenizer_name')
LARGEST_SIDE = 2**13
_MOST_BYTES = 2**20


def read_folder_config(path: Path) -> dict[str, Any]:
    """Read the config of an open_clip model; nothing that it names is imported or fetched.

    Args:
        path: of the file.

    Returns:
        The config. Its `model_cfg` has `embed_dim`, `vision_cfg` and `text_cfg`, and no part with
        fields that open_clip does not know. Its `preprocess_cfg` is a dict.

    Raises:
        ValueError: if it is no such config; or the model would bring code of its own, or be read from
            elsewhere. The message names the file and the field.
    """
    try:
        config = json.loads(read_start(path, _MOST_BYTES).decode())
        pixels = config.get('preprocess_cfg') or {}
        # As open_clip reads it, null stands for what is left out.
        config['preprocess_cfg'] = {key: value for key, value in pixels.items() if value is not None}
        model = config['model_cfg']
        if type(model['embed_dim']) is not int or model['embed_dim'] < 1:
            raise ValueError(f'model_cfg.embed_dim={model["embed_dim"]!r} must be a whole number above 0')
        for name in ('vision_cfg', 'text_cfg', *({'multimodal_cfg'} & model.keys())):
            _check_part(f'model_cfg.{name}', model[name], PARTS[name])
        _check_side(model['vision_cfg'].get('image_size', 224))
        for place in NAMES:
            part, key = place.split('.')
            _check_kind(f'model_cfg.{place}', model[part].get(key) or '', str)
        _check_kind(
            'model_cfg.text_cfg.tokenizer_kwargs', model['text_cfg'].get('tokenizer_kwargs', {}), dict
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f'{path} is not a config of an open_clip model: {_said(error)}') from error
    _refuse_code(path, model['vision_cfg'], model['text_cfg'])
    return config


def _check_part(name: str, part: Any, kind: type) -> None:
    _check_kind(name, part, dict)
    unknown = sorted(part.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise ValueError(f'{name} has {", ".join(unknown)}, which open_clip {open_clip.__version__} lacks')


def _check_kind(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise ValueError(f'{name}={value!r} must be a {kind.__name__}')


def _check_side(size: Any) -> None:
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
        raise ValueError(f'model_cfg.vision_cfg.image_size={size!r} must be pixels, {LARGEST_SIDE:,} at most')


def _said(error: Exception) -> str:
    return repr(error) if isinstance(error, KeyError | TypeError | AttributeError) else str(error)


def _refuse_code(path: Path, vision: dict[str, Any], text: dict[str, Any]) -> None:
    trunk = vision.get('timm_model_name') or ''
    if ':' in trunk:
        raise ValueError(
            f'{path} says vision_cfg.timm_model_name={trunk!r}, whose config is elsewhere: give the name of '
            'a model of timm'
        )
    other = sorted(text.get('tokenizer_kwargs', {}).keys() - {*TOKENIZER_OPTIONS})
    if other:
        raise ValueError(
            f'{path} says text_cfg.tokenizer_kwargs.{other[0]}, which could bring code, or name a file: save '
            f'its tokenizer as {TOKENIZER_FILES}, and remove the key. Known: {", ".join(TOKENIZER_OPTIONS)}'
        )


PARTS = dict(vision_cfg=CLIPVisionCfg, text_cfg=CLIPTextCfg, multimodal_cfg=MultimodalCfg)
"""The parts of a model config, by the classes that have their defaults."""
OTHER = ('quick_gelu', 'init_logit_scale', 'init_logit_bias')
"""Keys of a model config beside the architecture: the activation, and where training starts."""
OTHER_OF_PARTS = (
    'patch_dropout',
    'timm_model_pretrained',
    'timm_drop',
    'timm_drop_path',
    'hf_model_pretrained',
)
"""Likewise of its parts: what holds in training, or before it."""


def architecture_difference(config: Mapping[str, Any], model: Mapping[str, Any]) -> str | None:
    """The first field in which a config differs from a model's, with both values; None if there is none.

    A field that is left out has open_clip's default.

    Args:
        config: the `model_cfg` of an `open_clip_config.json`.
        model: open_clip's own config of a named model.

    Raises:
        KeyError, TypeError: if `config` is none of an open_clip model.
    """
    its, own = _fields(config), _fields(model)
    names = sorted({*its, *own})
    return next(
        (
            f'{name} is {its.get(name)!r}, not {own.get(name)!r}'
            for name in names
            if its.get(name) != own.get(name)
        ),
        None,
    )


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the architecture by dotted names, defaults included."""
    fields = {key: value for key, value in config.items() if key not in (*OTHER, *PARTS)}
    fields['embed_dim'] = config['embed_dim']
    for part, kind in PARTS.items():
        if part == 'multimodal_cfg' and part not in config:
            continue
        for key, value in asdict(kind(**config[part])).items():
            if key not in OTHER_OF_PARTS:
                fields[f'{part}.{key}'] = list(value) if isinstance(value, tuple) else value
    return fields
