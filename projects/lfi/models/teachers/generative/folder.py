"""Finding and checking the folder of a generative VLM of transformers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lfi.utils.fileio import read_prefix, refuse_pipes

GENERATIVE = 'transformers:'
"""Prefix of the names of transformers' models."""
FILES = {
    'config': ('config.json',),
    'preprocessing': ('preprocessor_config.json', 'processor_config.json'),
    'tokenizer': ('tokenizer.json', 'tokenizer.model', 'vocab.json'),
}
"""Required files of a folder beside weights: one of each row."""
PROCESSOR_FILES = (
    'tokenizer_config.json',
    'special_tokens_map.json',
    'processor_config.json',
    'preprocessor_config.json',
    'audio_tokenizer_config.json',
)
"""Configs of a processor and its parts."""
MAX_BYTES = 2**26
"""Largest size of a JSON file in bytes: the index of the largest models has a few millions."""
EXTERNAL_FILE_KEYS = ('class_info_file', 'repo_path', 'sp_model_kwargs', 'tokenizer_file')
"""Keys of processor configs that name files outside the folder, or in the working directory."""
# Names of repositories that a student's config may have.
_NAME = re.compile(r'(\w[\w.-]*/)?\w[\w.+-]*')


def generative_folder(model: str) -> Path | None:
    """Find the folder of a 'transformers:...' model. None if it is the name of a repository.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: if the folder's name could be a repository's too, or the folder contains a pipe.
    """
    name = model.removeprefix(GENERATIVE)
    path = Path(name).expanduser()
    if path.exists() and _NAME.fullmatch(name):
        # The config of a downloaded student may have this name, and must not open local files.
        raise ValueError(
            f'model={model!r} is the name of a repository, but {Path.cwd()} has a file or folder of '
            f"this name: give the folder as '{GENERATIVE}./{name}', or start lfi in another directory"
        )
    if path.is_dir():
        refuse_pipes(path)
        return path
    if name.count('/') <= 1 and name[:1] not in ('.', '/', '~'):
        return None
    raise FileNotFoundError(f'teacher folder not found: {path}')


def fetch_folder(name: str) -> Path:
    """Fetch a repository's files at one commit to the cache of the Hub, and return their folder.

    Args:
        name: name of the repository. Files in the cache are not fetched again.

    Raises:
        HTTPError, OSError, ValueError: if the repository cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    kinds = ['*.json', '*.jinja', '*.txt', '*.model', '*.safetensors']
    # Subfolders are not needed; `consolidated` files duplicate the weights.
    ignored = ['*/*', 'consolidated*']
    folder = Path(snapshot_download(name, allow_patterns=kinds, ignore_patterns=ignored))
    if not _has_weight_files(folder):
        folder = Path(snapshot_download(name, allow_patterns=[*kinds, '*.bin'], ignore_patterns=ignored))
    return folder


def refuse_external_files(folder: Path) -> None:
    """Refuse a folder with code that transformers would run, or with references to files outside.

    Audit events do not suffice: Rust code reads some of these files.

    Raises:
        ValueError: if there is such code or such a reference; the message names the first.
    """
    if (folder / 'custom_generate').exists():
        raise ValueError(
            f'{folder / "custom_generate"} is code, which transformers would run; nothing was read. If the '
            'weights are sound, remove it'
        )
    if (folder / 'adapter_config.json').exists():
        raise ValueError(
            f'{folder} holds an adapter, whose model is elsewhere: merge them with '
            "peft's merge_and_unload, and save the result"
        )
    for path in folder.glob('*.index.json'):
        files = _read_json(path).get('weight_map')
        if not isinstance(files, dict) or not all(map(_is_bare_name, files.values())):
            raise ValueError(f'{path} must have a weight_map whose files are beside it')
    config = folder / 'config.json'
    content = _read_json(config)
    if 'configuration_files' in content:
        raise ValueError(
            f'{config} has configuration_files, which transformers would read in its place: remove the key'
        )
    keys = [key for key, value in _entries(content) if _names_external_weights(key, value)]
    if keys:
        raise ValueError(f'{config} names weights outside the folder by {keys[0]}: give a complete model')
    refuse_external_tokenizers(folder)


def refuse_external_tokenizers(folder: Path) -> None:
    """Refuse a folder whose processor or tokenizer reads files outside the folder.

    Raises:
        ValueError: if a config in the folder names such files.
    """
    for name in PROCESSOR_FILES:
        entries = _entries(_read_json(folder / name))
        keys = [key for key, value in entries if _names_external_file(key, value)]
        if keys:
            raise ValueError(f'{folder / name} names other files by {", ".join(keys)}: remove them')


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the entries of a config at any depth."""
    if isinstance(value, list):
        for part in value:
            yield from _entries(part)
    for key, part in value.items() if isinstance(value, dict) else ():
        yield key, part
        yield from _entries(part)


def _names_external_weights(key: str, value: Any) -> bool:
    """Whether an entry of a config names weights outside the folder, also those that timm would fetch."""
    if key == 'model_type':
        return isinstance(value, str) and value.startswith('timm')
    return bool(value) and key in ('transformers_weights', 'backbone', 'backbone_config', 'checkpoint_path')


def _names_external_file(key: str, value: Any) -> bool:
    """Whether an entry of a processor's config names a file outside the folder."""
    if key.startswith('audio_tokenizer') or key in EXTERNAL_FILE_KEYS:
        return bool(value)
    if key == 'fast_tokenizer_files':
        return not (isinstance(value, list) and all(map(_is_bare_name, value)))
    # A path that does not exist is harmless: it may be of another machine. A number is a file descriptor.
    names_file = key.endswith(('_file', '_spm')) or key == 'vocab'
    return names_file and isinstance(value, str | int) and os.path.exists(value)


def _is_bare_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name


def _read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file. Empty if there is none: transformers reports that error later.

    Raises:
        ValueError: if the path is not a regular file, or the file has more than `MAX_BYTES`.
    """
    if not path.exists():
        return {}
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise ValueError(f'{path} is not a regular file of at most {MAX_BYTES:,} bytes: it was not read')
    try:
        content = json.loads(read_prefix(path, MAX_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def has_weights(folder: Path, allow_random: bool) -> bool:
    """Whether a folder has weights.

    Args:
        folder: folder of a generative VLM.
        allow_random: whether weights may be missing.

    Raises:
        FileNotFoundError: if a required file or the weights are missing.
    """
    for part, files in FILES.items():
        if not any((folder / file).is_file() for file in files):
            raise FileNotFoundError(f'teacher folder {folder} has no {part}: {" or ".join(files)}')
    present = _has_weight_files(folder)
    if not present and not allow_random:
        raise FileNotFoundError(
            f'teacher folder {folder} has no weights (*.safetensors or *.bin); random weights need '
            'allow_random=True'
        )
    return present


def _has_weight_files(folder: Path) -> bool:
    return any(path.suffix in ('.safetensors', '.bin') for path in folder.iterdir())
