"""What makes a teacher's maps what they are, without building it."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

from lfi.concepts import concept_names, prompt_templates

from .arguments import bind_arguments
from .vlm_attention_teacher import VLMAttentionTeacher, find_extractor
from .weights import BLIP, find_folder
from .weights_source import WeightsSource


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
    identity = bind_arguments(VLMAttentionTeacher, arguments)
    del identity['allow_random']
    find_extractor(identity['extractor'])
    source = WeightsSource.of(identity['pretrained'], identity.pop('weights_file'))
    identity |= _source(identity['model'], source)
    kind = str(config.get('type', '')).rpartition('.')[2]
    if kind not in ('', VLMAttentionTeacher.__name__):
        identity['type'] = kind
    identity['concepts'] = concept_names(identity['concepts'])
    identity['templates'] = prompt_templates(identity['templates'])
    # As it is after a round through JSON.
    return json.loads(json.dumps(identity))


def _source(model: str, source: WeightsSource) -> dict[str, object]:
    at_hand = source.path is not None and source.path.is_file()
    if model.startswith(BLIP):
        name = Path(model.removeprefix(BLIP))
        files = [file for file in (name, source.path) if file is not None and file.is_file()]
        return dict(model=f'{BLIP}{name.name}', pretrained=None, weights=_digest(files) if at_hand else None)
    try:
        folder = find_folder(model)
    except FileNotFoundError:
        return dict(model=Path(model).name, pretrained=None, weights=None)
    if folder is not None:
        kinds = ('.safetensors', '.bin', '.pth', '.json')
        files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
        return dict(model=folder.name, pretrained=None, weights=_digest(files))
    files = [source.path] if at_hand else []
    if at_hand and source.tag is None and not source.stated and source.config_file is not None:
        files.append(source.config_file)
    identity = dict(model=model, pretrained=source.tag, weights=_digest(files) if files else None)
    # How the weights were trained changes the maps; most configs need not state it.
    return {**identity, 'weights_file': dict(source.stated)} if source.stated else identity


def _digest(files: list[Path]) -> str:
    digest = blake2b(digest_size=16)
    for path in files:
        with path.open('rb') as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()
