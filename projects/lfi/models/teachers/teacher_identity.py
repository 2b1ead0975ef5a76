"""What makes a teacher's maps what they are, without building it."""

from __future__ import annotations

import inspect
import json
from hashlib import blake2b
from pathlib import Path

from lfi.datasets.concept_names import concept_names

from .prompts import prompt_templates
from .vlm_attention_teacher import VLMAttentionTeacher, find_extractor
from .weights import BLIP
from .weights import _folder as find_folder
from .weights import _looks_like_file as looks_like_file


def teacher_identity(config: dict) -> dict:
    """The identity of the teacher that a config describes; two teachers of the same give the same maps.

    Args:
        config: of a `VLMAttentionTeacher`.

    Returns:
        Plain data: the teacher's arguments but `allow_random`, and `weights`: a digest of the weights' file,
        with its model's config, or None where no such file is at hand. Folders and files are named by what is
        in them, not by where they lie.

    Raises:
        ValueError: if the extractor is unknown, or the concepts cannot be named.
    """
    arguments = {key: value for key, value in config.items() if key != 'type'}
    bound = inspect.signature(VLMAttentionTeacher).bind(**arguments)
    bound.apply_defaults()
    identity = dict(bound.arguments)
    del identity['allow_random']
    find_extractor(identity['extractor'])
    identity |= _source(identity['model'], identity['pretrained'])
    kind = str(config.get('type', '')).rpartition('.')[2]
    if kind not in ('', VLMAttentionTeacher.__name__):
        identity['type'] = kind
    identity['concepts'] = concept_names(identity['concepts'])
    identity['templates'] = prompt_templates(identity['templates'])
    # As it is after a round through JSON.
    return json.loads(json.dumps(identity))


def _source(model: str, pretrained: str | None) -> dict:
    if model.startswith(BLIP):
        name = model.removeprefix(BLIP)
        at_hand = pretrained is not None and Path(pretrained).is_file()
        files = [Path(file) for file in (name, pretrained) if at_hand and Path(file).is_file()]
        weights = _digest(files) if at_hand else None
        return dict(model=f'{BLIP}{Path(name).name}', pretrained=None, weights=weights)
    try:
        folder = find_folder(model)
    except FileNotFoundError:
        return dict(model=Path(model).name, pretrained=None, weights=None)
    if folder is not None:
        kinds = ('.safetensors', '.bin', '.pth', '.json')
        files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
        return dict(model=folder.name, pretrained=None, weights=_digest(files))
    if pretrained is not None and looks_like_file(pretrained):
        file = Path(pretrained)
        return dict(model=model, pretrained=None, weights=_digest([file]) if file.is_file() else None)
    return dict(model=model, pretrained=pretrained, weights=None)


def _digest(files: list[Path]) -> str:
    digest = blake2b(digest_size=16)
    for path in files:
        with path.open('rb') as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()
