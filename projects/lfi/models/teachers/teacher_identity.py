"""What makes a teacher's maps what they are, without building it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lfi.concepts import concept_names, prompt_templates
from lfi.registry import EXTRACTORS, TEACHERS, type_of
from lfi.utils.fileio import hash_files

from .families import AUTO, chosen_extractor
from .generative.folder import GENERATIVE, generative_folder
from .loading.dual_encoder import named_by_content
from .loading.weights import BLIP, find_folder
from .loading.weights_source import WeightsSource
from .model_config import bind_arguments, open_clip_config
from .vlm_attention_teacher import VLMAttentionTeacher


def teacher_identity(config: dict[str, Any]) -> dict[str, Any]:
    """The identity of the teacher that a config describes; two teachers of the same give the same maps.

    Args:
        config: of a teacher that `TEACHERS` knows; without `type`, of a `VLMAttentionTeacher`.

    Returns:
        Plain data: all arguments of the teacher's class but `allow_random`, and `weights`: a digest of the
        weights' file, with its model's config, or None where no such file is at hand. Folders and files are
        named by what is in them, not by where they lie. The extractor 'auto' is named as the one that it
        takes, and stays 'auto' where the folder of the model is not at hand. A class other than
        `VLMAttentionTeacher` is named as `type`.

    Raises:
        TypeError: if the class has no such argument, or needs another.
        ValueError: if the teacher or the extractor is unknown, or the concepts cannot be named.
    """
    arguments = dict(config)
    kind = type_of({'type': arguments.pop('type', VLMAttentionTeacher)}, TEACHERS, 'teacher')
    identity = bind_arguments(kind, arguments)
    identity.pop('allow_random', None)
    if 'extractor' in identity:
        identity['extractor'] = _extractor(identity['extractor'], identity.get('model'))
    # Its older caches are of maps that were stretched over the border.
    if _has_border(identity.get('input_size'), identity.get('model')):
        identity['whole_patches'] = True
    if 'model' in identity:
        source = WeightsSource.of(identity.get('pretrained'), identity.pop('weights_file', None))
        identity |= _source(identity['model'], source)
    if kind is not VLMAttentionTeacher:
        identity['type'] = kind.__name__
    # A teacher of another kind may fix what it is asked about.
    if 'concepts' in identity:
        identity['concepts'] = concept_names(identity['concepts'])
    if 'templates' in identity:
        identity['templates'] = prompt_templates(identity['templates'])
    # As it is after a round through JSON.
    return json.loads(json.dumps({'weights': None, **identity}))


def _extractor(extractor: Any, model: str | Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        config = chosen_extractor(extractor, model)
    except FileNotFoundError:
        return dict(type=AUTO)
    kind = type_of(config, EXTRACTORS, 'extractor')
    if not isinstance(config['type'], type):
        return dict(config)
    # A lazy config holds the class itself.
    return {**config, 'type': next(name for name, known in EXTRACTORS.module_dict.items() if known is kind)}


def _has_border(size: Any, model: str | Mapping[str, Any] | None) -> bool:
    """Whether images would have the model's own size, which its patches do not fill."""
    if not isinstance(model, str) or model.startswith((BLIP, GENERATIVE)):
        return False
    try:
        vision = open_clip_config(model)['vision_cfg']
    except (FileNotFoundError, ValueError):
        # The teacher is refused when it is built; who reads a cache of it needs no model.
        return False
    patch = re.search(r'patch(\d+)', str(vision.get('timm_model_name')))
    own, side = vision.get('image_size'), int(patch[1]) if patch else 1
    return isinstance(own, int) and own % side > 0 and size in (None, own, [own, own], (own, own))


def _source(model: str | Mapping[str, Any], source: WeightsSource) -> dict[str, object]:
    if isinstance(model, Mapping):
        named, files = named_by_content(model)
        return dict(model=named, pretrained=None, weights=_digest(files) if files else None)
    weights = [source.path] if source.path is not None and source.path.is_file() else []
    if model.startswith(BLIP):
        name = Path(model.removeprefix(BLIP))
        files = [name, *weights] if name.is_file() else weights
        return dict(model=f'{BLIP}{name.name}', pretrained=None, weights=_digest(files) if weights else None)
    if model.startswith(GENERATIVE):
        return _generative_source(model)
    try:
        folder = find_folder(model)
    except FileNotFoundError:
        return dict(model=Path(model).name, pretrained=None, weights=None)
    if folder is not None:
        kinds = ('.safetensors', '.bin', '.pth', '.json')
        files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
        return dict(model=folder.name, pretrained=None, weights=_digest(files))
    if weights and source.tag is None and not source.stated and source.config_file is not None:
        weights.append(source.config_file)
    identity: dict[str, object] = dict(
        model=model, pretrained=source.tag, weights=_digest(weights) if weights else None
    )
    # How the weights were trained changes the maps; most configs need not state it.
    return {**identity, 'weights_file': dict(source.stated)} if source.stated else identity


def _generative_source(model: str) -> dict[str, object]:
    try:
        folder = generative_folder(model)
    except FileNotFoundError:
        return dict(model=f'{GENERATIVE}{Path(model).name}', pretrained=None, weights=None)
    if folder is None:
        return dict(model=model, pretrained=None, weights=None)
    # The tokenizer and the chat template make a prompt what it is.
    kinds = ('.safetensors', '.bin', '.json', '.jinja', '.model', '.txt')
    files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
    return dict(model=f'{GENERATIVE}{folder.resolve().name}', pretrained=None, weights=_digest(files))


def _digest(files: list[Path]) -> str:
    return hash_files(blake2b(digest_size=16), *files).hexdigest()
