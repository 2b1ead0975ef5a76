"""Loading of an open_clip model's tokenizer, from a folder or a hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import open_clip

from lfi.utils.repositories import first_lines

from ..generative.folder import refuse_external_tokenizers
from ..vlm import Tokenizer
from .folder_config import FILE, TOKENIZER_FILES, read_folder_config


def tokenizer_on_hub(text_cfg: dict[str, Any]) -> str | None:
    """Name of a model's tokenizer on the hub. None if open_clip contains the vocabulary.

    Args:
        text_cfg: `text_cfg` of the model's config.
    """
    return text_cfg.get('hf_tokenizer_name') or None


def load_tokenizer(model: str, folder: Path | None = None) -> Tokenizer:
    """Load a tokenizer. Files that are on this machine are not fetched from the hub.

    Args:
        model: name of a model of open_clip; if a folder is given, only for messages.
        folder: folder with `open_clip_config.json` and, for a tokenizer of `transformers`, its files.
            Defaults to None, the tokenizer of the named model.

    Raises:
        FileNotFoundError: if the folder lacks the tokenizer's files.
        ValueError: if the folder's config is invalid, names files outside the folder, or names no tokenizer
            although there is a tokenizer.json; or if `refuse_namesakes` refuses a repository.
        RuntimeError: if the tokenizer is not on this machine, and cannot be fetched.
        ImportError: if `transformers` is needed, and not installed.
    """
    if folder is None:
        name, config = model, open_clip.get_model_config(model) or {}
    else:
        name = f'local-dir:{folder}'
        config = read_folder_config(folder / FILE)['model_cfg']
        refuse_external_tokenizers(folder)
    text_cfg = config.get('text_cfg', {})
    hub = tokenizer_on_hub(text_cfg)
    # With a folder, the tokenizer is read from the folder, whatever its name.
    refuse_namesakes(model, text_cfg.get('hf_model_name'), None if folder else hub)
    if hub is None and folder is not None and (folder / 'tokenizer.json').is_file():
        raise ValueError(
            f'the teacher folder {folder} has a tokenizer.json, and its open_clip_config.json names no '
            'tokenizer: set model_cfg.text_cfg.hf_tokenizer_name, or remove the file'
        )
    if hub is None:
        try:
            return open_clip.get_tokenizer(name)
        except Exception as error:
            raise ValueError(
                f'the tokenizer of the teacher {model} cannot be built from its text_cfg: {error!r}'
            ) from error
    try:
        return open_clip.get_tokenizer(name, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise ImportError(
            f"the tokenizer of {model} needs transformers: pip install 'lfi[multimodal]' ({error})"
        ) from error
    except Exception as error:
        # transformers and tokenizers raise any error for invalid files.
        if folder is not None:
            raise FileNotFoundError(
                f"the teacher folder {folder} has no tokenizer that can be read: its model's is {hub!r}, "
                f'whose files ({TOKENIZER_FILES}) belong beside the weights ({error})'
            ) from error
    try:
        return open_clip.get_tokenizer(name, trust_remote_code=False)
    except (OSError, ValueError, TypeError) as error:
        raise RuntimeError(
            f'the tokenizer {hub!r} of {model} could not be fetched: {first_lines(error)}. On a machine '
            'without network, fetch it elsewhere and copy the cache of the hub (HF_HOME), or give a folder '
            f'as model: weights, open_clip_config.json, {TOKENIZER_FILES}'
        ) from error


def refuse_namesakes(model: str, *names: str | None) -> None:
    """Refuse local files and folders that transformers would read in place of a repository.

    Args:
        model: name of the model that needs the repositories, for the message.
        names: names of the repositories; None for one that is not needed.

    Raises:
        ValueError: if the working directory has a file or folder with such a name.
    """
    for name in filter(None, names):
        if os.path.lexists(name):
            raise ValueError(
                f'{model} needs the repository {name!r}, but {Path.cwd()} has a file or folder of this name, '
                'which would be read instead: start lfi in another directory'
            )
