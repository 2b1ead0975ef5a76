"""An open_clip model's tokenizer, whose files may lie on a hub."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import open_clip

from .vlm import Tokenizer

FILES = 'tokenizer.json and tokenizer_config.json'
"""What a tokenizer of `transformers` is saved as."""


def tokenizer_on_hub(text_cfg: dict[str, Any]) -> str | None:
    """The hub's name of a model's tokenizer; None where open_clip brings the vocabulary itself.

    Args:
        text_cfg: of the model's config.
    """
    return text_cfg.get('hf_tokenizer_name') or None


def load_tokenizer(model: str, folder: Path | None = None) -> Tokenizer:
    """Load a tokenizer; files that are on this machine are taken without asking the hub.

    Args:
        model: the name of a model that open_clip knows; with a folder, for messages alone.
        folder: with `open_clip_config.json` and, where the model's tokenizer is one of `transformers`, its
            files. Defaults to None: those of the name.

    Raises:
        FileNotFoundError: if the folder lacks the tokenizer's files.
        ValueError: if it has some, and its config names no tokenizer; as `refuse_code` says; or if a folder
            of the working directory would be read in place of the tokenizer.
        RuntimeError: if they are not on this machine, and cannot be fetched.
        ImportError: if `transformers` is not installed, and is needed.
    """
    if folder is None:
        name, config = model, open_clip.get_model_config(model) or {}
    else:
        name = f'local-dir:{folder}'
        config = _config_of(folder)
        refuse_code(folder)
    text_cfg = config.get('text_cfg', {})
    hub = tokenizer_on_hub(text_cfg)
    if folder is None:
        _refuse_namesakes(model, text_cfg)
    if hub is None and folder is not None and (folder / 'tokenizer.json').is_file():
        raise ValueError(
            f'the teacher folder {folder} has a tokenizer.json, and its open_clip_config.json names no '
            'tokenizer: set model_cfg.text_cfg.hf_tokenizer_name, or remove the file'
        )
    if hub is None:
        return open_clip.get_tokenizer(name)
    try:
        return open_clip.get_tokenizer(name, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise ImportError(
            f"the tokenizer of {model} needs transformers: pip install 'lfi[multimodal]' ({error})"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        # Whatever transformers finds of the files, it says by one of these.
        if folder is not None:
            raise FileNotFoundError(
                f"the teacher folder {folder} has no tokenizer that can be read: its model's is {hub!r}, "
                f'whose files ({FILES}) belong beside the weights ({error})'
            ) from error
    try:
        return open_clip.get_tokenizer(name, trust_remote_code=False)
    except (OSError, ValueError, TypeError) as error:
        raise RuntimeError(
            f'the tokenizer {hub!r} of {model} could not be fetched: {error}. On a machine without network, '
            'fetch it elsewhere and copy the cache of the hub (HF_HOME), or give a folder as model: weights, '
            f'open_clip_config.json, {FILES}'
        ) from error


def refuse_code(folder: Path) -> None:
    """Refuse a folder whose model or tokenizer would bring code of its own.

    Args:
        folder: with `open_clip_config.json`.

    Raises:
        ValueError: if its config trusts remote code, or names a text model that none of open_clip's does.
    """
    path, text_cfg = folder / 'open_clip_config.json', _config_of(folder).get('text_cfg')
    if not isinstance(text_cfg, dict):
        return
    options = text_cfg.get('tokenizer_kwargs')
    if isinstance(options, dict) and options.get('trust_remote_code'):
        raise ValueError(
            f'{path} says text_cfg.tokenizer_kwargs.trust_remote_code, and no code of a teacher is run: save '
            f'its tokenizer as {FILES}, and remove the key'
        )
    name = text_cfg.get('hf_model_name')
    if name and name not in _text_models():
        raise ValueError(
            f'{path} says text_cfg.hf_model_name={name!r}, which could bring code of its own: those of '
            f'open_clip are {", ".join(sorted(_text_models()))}'
        )


@cache
def _text_models() -> frozenset[str]:
    """The models of `transformers` that open_clip's own configs name."""
    configs = (open_clip.get_model_config(name) or {} for name in open_clip.list_models())
    return frozenset(filter(None, (config.get('text_cfg', {}).get('hf_model_name') for config in configs)))


def _refuse_namesakes(model: str, text_cfg: dict[str, Any]) -> None:
    """Refuse a folder of the working directory that transformers would read in place of a repository."""
    for key in ('hf_tokenizer_name', 'hf_model_name'):
        name = text_cfg.get(key)
        if name and Path(name).exists():
            raise ValueError(
                f'the {key} of {model} is {name!r}, and the folder {Path.cwd()} has one of this name, which '
                'would be read in its place: start lfi in another folder'
            )


def _config_of(folder: Path) -> dict[str, Any]:
    """A folder's model config; empty where it cannot be read, which is told when the model is created."""
    try:
        config = json.loads((folder / 'open_clip_config.json').read_text(encoding='utf-8'))
    except ValueError:
        return {}
    found = config.get('model_cfg') if isinstance(config, dict) else None
    return found if isinstance(found, dict) else {}
