"""Steps before a written config can train: checkpoints, the teacher's weights, packages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config


def print_first_steps(cfg: Config) -> None:
    """Print what to do before a config can train; nothing if all is there."""
    teacher = cfg.model.get('teacher') or {}
    steps = [*missing_checkpoints(cfg), *missing_packages(teacher), *missing_weights(teacher)]
    if steps:
        print('First:')
        for step in steps:
            print(f'  {step}')


def missing_checkpoints(cfg: Config) -> list[str]:
    """Return a message for each checkpoint of a config that must be downloaded, or cannot be."""
    from lfi.engine.checkpoints.addresses import (
        download_path,
        gone_host_message,
        named_checkpoints,
        resolve_checkpoint,
    )
    from lfi.errors import UsageError

    lines = []
    for key, checkpoint in named_checkpoints(cfg):
        try:
            url = resolve_checkpoint(checkpoint)
        except UsageError as error:
            lines.append(f'{key}={checkpoint!r}: {error}.')
            continue
        gone_message = gone_host_message(url)
        if '://' not in url or Path(download_path(url)).is_file():
            continue
        lines.append(
            f'{key}={checkpoint!r} cannot be fetched: {gone_message} in its place.'
            if gone_message
            else f'{key}={checkpoint!r} is not on this machine. The first command fetches it from {url}'
        )
    return lines


def missing_packages(teacher: Mapping[str, Any]) -> list[str]:
    """Return a message if a teacher's tokenizer needs transformers, which is not installed."""
    from lfi.models.teachers.model_config import open_clip_config

    try:
        texts: Mapping[str, Any] = open_clip_config(teacher['model'])['text_cfg']
    # A folder, a generative VLM and a model of the user's own have another form.
    except (KeyError, OSError, TypeError, ValueError):
        return []
    name = texts.get('hf_tokenizer_name') or texts.get('hf_model_name')
    if not name or find_spec('transformers') is not None:
        return []
    return [f"model.teacher: its tokenizer {name} needs transformers: pip install 'lfi[multimodal]'"]


def missing_weights(teacher: Mapping[str, Any]) -> list[str]:
    """Return a message if a teacher's weights are published by open_clip and not on this machine."""
    import open_clip

    model, tag = teacher.get('model'), teacher.get('pretrained')
    if not isinstance(model, str) or tag is None or teacher.get('weights_file') is not None:
        return []
    published = open_clip.get_pretrained_cfg(model, tag) or {}
    repository = os.path.dirname(published.get('hf_hub', ''))
    address = f'https://huggingface.co/{repository}' if repository else published.get('url', '')
    if not address or (_in_hub_cache(repository) if repository else _in_clip_cache(address)):
        return []
    return [
        f'model.teacher: the weights {tag!r} of {model} are not on this machine. The first command fetches '
        f'them from {address}; without network, fetch them elsewhere, and name the file in '
        'model.teacher.weights_file'
    ]


def _in_hub_cache(repository: str) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f'models--{repository.replace("/", "--")}' / 'snapshots'
    return any(path.suffix in ('.bin', '.safetensors', '.pt', '.pth') for path in folder.glob('*/*'))


def _in_clip_cache(address: str) -> bool:
    # open_clip's own folder.
    return (Path('~/.cache/clip').expanduser() / os.path.basename(address)).is_file()
