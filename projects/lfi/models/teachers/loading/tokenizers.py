"""An open_clip model's tokenizer, whose files may lie on a hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import open_clip

from ..generative.folder import refuse_other_tokenizers
from ..vlm import Tokenizer
from .folder_config import FILE, TOKENIZER_FILES, read_folder_config


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
        ValueError: if it has some, and its config names no tokenizer; as `read_folder_config` and
            `refuse_other_tokenizers` say; or as `refuse_namesakes` says.
        RuntimeError: if they are not on this machine, and cannot be fetched.
        ImportError: if `transformers` is not installed, and is needed.
    """
    if folder is None:
        name, config = model, open_clip.get_model_config(model) or {}
    else:
        name = f'local-dir:{folder}'
        config = read_folder_config(folder / FILE)['model_cfg']
        refuse_other_tokenizers(folder)
    text_cfg = config.get('text_cfg', {})
    hub = tokenizer_on_hub(text_cfg)
    # Of a folder the tokenizer's name stands for files in it.
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
                f'the tokenizer of the teacher {model} cannot be made of its text_cfg: {error!r}'
            ) from error
    try:
        return open_clip.get_tokenizer(name, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise ImportError(
            f"the tokenizer of {model} needs transformers: pip install 'lfi[multimodal]' ({error})"
        ) from error
    except Exception as error:
        # Whatever transformers and tokenizers find of the files, they say by any error.
        if folder is not None:
            raise FileNotFoundError(
                f"the teacher folder {folder} has no tokenizer that can be read: its model's is {hub!r}, "
                f'whose files ({TOKENIZER_FILES}) belong beside the weights ({error})'
            ) from error
    try:
        return open_clip.get_tokenizer(name, trust_remote_code=False)
    except (OSError, ValueError, TypeError) as error:
        raise RuntimeError(
            f'the tokenizer {hub!r} of {model} could not be fetched: {error}. On a machine without network, '
            'fetch it elsewhere and copy the cache of the hub (HF_HOME), or give a folder as model: weights, '
            f'open_clip_config.json, {TOKENIZER_FILES}'
        ) from error


def refuse_namesakes(model: str, *names: str | None) -> None:
    """Refuse a folder of the working directory that transformers would read in place of a repository.

    Args:
        model: that needs the repositories, for the message.
        names: of the repositories; None for one that is not needed.

    Raises:
        ValueError: if there is a file or folder of such a name.
    """
    for name in filter(None, names):
        if os.path.lexists(name):
            raise ValueError(
                f'{model} needs {name!r}, and the folder {Path.cwd()} has one of this name, which would be '
                'read in its place: start lfi in another folder'
            )
