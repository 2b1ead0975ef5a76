"""Reading, checking and comparing the config of an open_clip model in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import open_clip
from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.coca_model import MultimodalCfg

from lfi.utils.fileio import read_prefix

FILE = 'open_clip_config.json'
TOKENIZER_FILES = 'tokenizer.json and tokenizer_config.json'
"""Files of a tokenizer of `transformers`."""
TOKENIZER_OPTIONS = ('clean', 'strip_sep_token', 'language')
"""Options of tokenizers in open_clip's own configs."""
NAME_FIELDS = ('vision_cfg.timm_model_name', 'text_cfg.hf_model_name', 'text_cfg.hf_tokenizer_name')
MAX_SIDE = 2**13
_MAX_BYTES = 2**20


def read_folder_config(path: Path) -> dict[str, Any]:
    """Read and check the config of an open_clip model, without importing or fetching what it names.

    Args:
        path: path of the file.

    Returns:
        The config. Its `model_cfg` has `embed_dim`, `vision_cfg` and `text_cfg`, with fields that open_clip
        knows. Its `preprocess_cfg` is a dict.

    Raises:
        ValueError: if the config is invalid, or names code or files outside the folder. The message names the
            file and the field.
    """
    try:
        config = json.loads(read_prefix(path, _MAX_BYTES).decode())
        pixels = config.get('preprocess_cfg') or {}
        # open_clip treats null as a missing value.
        config['preprocess_cfg'] = {key: value for key, value in pixels.items() if value is not None}
        model = config['model_cfg']
        if type(model['embed_dim']) is not int or model['embed_dim'] < 1:
            raise ValueError(f'model_cfg.embed_dim={model["embed_dim"]!r} must be a whole number above 0')
        for name in ('vision_cfg', 'text_cfg', *({'multimodal_cfg'} & model.keys())):
            _check_section(f'model_cfg.{name}', model[name], SECTIONS[name])
        _check_side(model['vision_cfg'].get('image_size', 224))
        for field_name in NAME_FIELDS:
            part, key = field_name.split('.')
            _check_type(f'model_cfg.{field_name}', model[part].get(key) or '', str)
        _check_type(
            'model_cfg.text_cfg.tokenizer_kwargs', model['text_cfg'].get('tokenizer_kwargs', {}), dict
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f'{path} is not a config of an open_clip model: {_error_text(error)}') from error
    _refuse_code(path, model['vision_cfg'], model['text_cfg'])
    return config


def _check_section(name: str, part: Any, kind: type) -> None:
    _check_type(name, part, dict)
    unknown = sorted(part.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise ValueError(f'{name} has {", ".join(unknown)}, which open_clip {open_clip.__version__} lacks')


def _check_type(name: str, value: Any, expected: type) -> None:
    if not isinstance(value, expected):
        raise ValueError(f'{name}={value!r} must be a {expected.__name__}')


def _check_side(size: Any) -> None:
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
        raise ValueError(f'model_cfg.vision_cfg.image_size={size!r} must be pixels, {MAX_SIDE:,} at most')


def _error_text(error: Exception) -> str:
    return repr(error) if isinstance(error, KeyError | TypeError | AttributeError) else str(error)


def _refuse_code(path: Path, vision: dict[str, Any], text: dict[str, Any]) -> None:
    trunk = vision.get('timm_model_name') or ''
    if ':' in trunk:
        raise ValueError(
            f'{path} says vision_cfg.timm_model_name={trunk!r}, whose config is not in the folder: '
            'give the name of a model of timm'
        )
    unknown = sorted(text.get('tokenizer_kwargs', {}).keys() - {*TOKENIZER_OPTIONS})
    if unknown:
        raise ValueError(
            f'{path} says text_cfg.tokenizer_kwargs.{unknown[0]}, which could bring code or name a file: '
            f'save its tokenizer as {TOKENIZER_FILES}, and remove the key. Known: '
            f'{", ".join(TOKENIZER_OPTIONS)}'
        )


SECTIONS = dict(vision_cfg=CLIPVisionCfg, text_cfg=CLIPTextCfg, multimodal_cfg=MultimodalCfg)
"""Sections of a model config, with open_clip's dataclasses of their fields."""
TRAINING_KEYS = ('quick_gelu', 'init_logit_scale', 'init_logit_bias')
"""Keys of a model config that do not describe the architecture: the activation, and initial values."""
SECTION_TRAINING_KEYS = (
    'patch_dropout',
    'timm_model_pretrained',
    'timm_drop',
    'timm_drop_path',
    'hf_model_pretrained',
)
"""Keys of sections that do not describe the architecture: settings of training, and pretrained weights."""


def architecture_difference(config: Mapping[str, Any], model: Mapping[str, Any]) -> str | None:
    """Describe the first field in which two architectures differ. None if they are equal.

    Missing fields have open_clip's defaults.

    Args:
        config: `model_cfg` of an `open_clip_config.json`.
        model: open_clip's own config of a named model.

    Raises:
        KeyError, TypeError: if `config` is no config of an open_clip model.
    """
    values, expected = _fields(config), _fields(model)
    for name in sorted({*values, *expected}):
        if values.get(name) != expected.get(name):
            return f'{name} is {values.get(name)!r}, not {expected.get(name)!r}'
    return None


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten the architecture to fields with dotted names, defaults included."""
    fields = {key: value for key, value in config.items() if key not in (*TRAINING_KEYS, *SECTIONS)}
    fields['embed_dim'] = config['embed_dim']
    for part, kind in SECTIONS.items():
        if part == 'multimodal_cfg' and part not in config:
            continue
        for key, value in asdict(kind(**config[part])).items():
            if key not in SECTION_TRAINING_KEYS:
                fields[f'{part}.{key}'] = list(value) if isinstance(value, tuple) else value
    return fields
