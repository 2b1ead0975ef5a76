"""Identity of a teacher's maps, from its config alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lfi.concepts import concept_names, prompt_templates
from lfi.registry import EXTRACTORS, TEACHERS, resolve_type
from lfi.utils.fileio import hash_files

from .asked_concepts import check_max_concepts
from .families import AUTO, resolve_extractor
from .generative.folder import GENERATIVE, generative_folder
from .loading.dual_encoder import portable_config
from .loading.weights import BLIP, find_folder
from .loading.weights_source import WeightsSource
from .model_config import bind_arguments, open_clip_config
from .vlm_attention_teacher import VLMAttentionTeacher


def teacher_identity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the identity of a config's teacher. Teachers with equal identities have equal maps.

    Args:
        config: config of a registered teacher; `type` defaults to 'VLMAttentionTeacher'.

    Returns:
        Plain data: all arguments of the teacher's class but `allow_random`, and `weights`: a digest of the
        weights file and its model's config, or None if the file is not on this machine. Files and folders
        are named without their paths. The extractor 'auto' is replaced by the extractor that it selects,
        unless the model's folder is not on this machine. `VLMAttentionTeacher` has no key `type`.

    Raises:
        TypeError: if an argument is missing or unknown.
        ValueError: if the teacher or the extractor is unknown, or the concepts cannot be resolved.
    """
    kind, identity = _bound(config)
    identity.pop('allow_random', None)
    if 'extractor' in identity:
        identity['extractor'] = _extractor_identity(identity['extractor'], identity.get('model'))
    # Maps end at the border. In older caches, which lack this key, maps are stretched over the border.
    if _has_border(identity.get('input_size'), identity.get('model')):
        identity['whole_patches'] = True
    # Caches and logs from before this option have no key for it.
    if identity.get('presence_against') == 'bank':
        del identity['presence_against']
    if 'model' in identity:
        source = WeightsSource.of(identity.get('pretrained'), identity.pop('weights_file', None))
        identity |= _model_identity(identity['model'], source)
    if kind is not VLMAttentionTeacher:
        identity['type'] = kind.__name__
    # Another teacher class may have fixed concepts.
    if 'concepts' in identity:
        identity['concepts'] = concept_names(identity['concepts'])
    if 'templates' in identity:
        identity['templates'] = prompt_templates(identity['templates'])
    # The types of JSON: identities are compared with those in manifests.
    return json.loads(json.dumps({'weights': None, **identity}))


def max_concepts_of(config: dict[str, Any]) -> int | None:
    """Return `max_concepts` of a teacher's config, or the default of the teacher's class.

    Raises:
        TypeError, ValueError: see `teacher_identity`; or if the value is no number of concepts.
    """
    max_concepts = _bound(config)[1].get('max_concepts')
    check_max_concepts(max_concepts)
    return max_concepts


def _bound(config: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    """Return the class of a teacher's config, and all arguments of the class."""
    arguments = dict(config)
    kind = resolve_type({'type': arguments.pop('type', VLMAttentionTeacher)}, TEACHERS, 'teacher')
    return kind, bind_arguments(kind, arguments)


def _extractor_identity(extractor: Any, model: str | Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        config = resolve_extractor(extractor, model)
    except FileNotFoundError:
        return dict(type=AUTO)
    kind = resolve_type(config, EXTRACTORS, 'extractor')
    if not isinstance(config['type'], type):
        return dict(config)
    # A lazy config holds the class itself.
    return {**config, 'type': next(name for name, cls in EXTRACTORS.module_dict.items() if cls is kind)}


def _has_border(size: Any, model: str | Mapping[str, Any] | None) -> bool:
    """Whether images have the model's own size, and a border that is too narrow for whole patches."""
    if not isinstance(model, str) or model.startswith((BLIP, GENERATIVE)):
        return False
    try:
        vision = open_clip_config(model)['vision_cfg']
    except (FileNotFoundError, ValueError):
        # Building such a teacher fails; reading its cache needs no model.
        return False
    patch = re.search(r'patch(\d+)', str(vision.get('timm_model_name')))
    side, step = vision.get('image_size'), int(patch[1]) if patch else 1
    return isinstance(side, int) and side % step > 0 and size in (None, side, [side, side], (side, side))


def _model_identity(model: str | Mapping[str, Any], source: WeightsSource) -> dict[str, object]:
    if isinstance(model, Mapping):
        portable, files = portable_config(model)
        return dict(model=portable, pretrained=None, weights=_digest(files) if files else None)
    weights = [source.path] if source.path is not None and source.path.is_file() else []
    if model.startswith(BLIP):
        path = Path(model.removeprefix(BLIP))
        files = [path, *weights] if path.is_file() else weights
        return dict(model=f'{BLIP}{path.name}', pretrained=None, weights=_digest(files) if weights else None)
    if model.startswith(GENERATIVE):
        return _generative_identity(model)
    try:
        folder = find_folder(model)
    except FileNotFoundError:
        return dict(model=Path(model).name, pretrained=None, weights=None)
    if folder is not None:
        kinds = ('.safetensors', '.bin', '.pth', '.json')
        files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
        return dict(model=folder.name, pretrained=None, weights=_digest(files))
    if weights and source.tag is None and not source.settings and source.config_file is not None:
        weights.append(source.config_file)
    identity: dict[str, object] = dict(
        model=model, pretrained=source.tag, weights=_digest(weights) if weights else None
    )
    # These settings change the maps; most configs do not have them.
    return {**identity, 'weights_file': dict(source.settings)} if source.settings else identity


def _generative_identity(model: str) -> dict[str, object]:
    try:
        folder = generative_folder(model)
    except FileNotFoundError:
        return dict(model=f'{GENERATIVE}{Path(model).name}', pretrained=None, weights=None)
    if folder is None:
        return dict(model=model, pretrained=None, weights=None)
    # The tokenizer and the chat template change the prompts.
    kinds = ('.safetensors', '.bin', '.json', '.jinja', '.model', '.txt')
    files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
    return dict(model=f'{GENERATIVE}{folder.resolve().name}', pretrained=None, weights=_digest(files))


def _digest(files: list[Path]) -> str:
    return hash_files(blake2b(digest_size=16), *files).hexdigest()
