"""The folder of a generative VLM of transformers: which one is meant, and what may be in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lfi.utils.fileio import read_start, refuse_pipes

GENERATIVE = 'transformers:'
"""How the names of transformers' models begin."""
FILES = {
    'config': ('config.json',),
    'preprocessing': ('preprocessor_config.json', 'processor_config.json'),
    'tokenizer': ('tokenizer.json', 'tokenizer.model', 'vocab.json'),
}
"""Beside weights, a folder must hold one file of each row."""
PROCESSOR_FILES = (
    'tokenizer_config.json',
    'special_tokens_map.json',
    'processor_config.json',
    'preprocessor_config.json',
    'audio_tokenizer_config.json',
)
"""Configs of a processor and its parts."""
MOST_BYTES = 2**26
"""The most bytes of a JSON file: the index of the largest models has a few millions."""
READ_ELSEWHERE = ('class_info_file', 'repo_path', 'sp_model_kwargs', 'tokenizer_file')
"""Entries of these that name files outside the folder, or in the working directory."""
# As a student's config may name it.
_NAME = re.compile(r'(\w[\w.-]*/)?\w[\w.+-]*')


def generative_folder(model: str) -> Path | None:
    """The folder that 'transformers:...' stands for; None for the name of a repository.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it could be a name as well, or as `refuse_pipes` says.
    """
    name = model.removeprefix(GENERATIVE)
    path = Path(name).expanduser()
    if path.exists() and _NAME.fullmatch(name):
        # Someone else's student names its teacher so, and means none of these files.
        raise ValueError(
            f'model={model!r} is the name of a repository, and the folder {Path.cwd()} has one of '
            f"this name: give the folder as '{GENERATIVE}./{name}', or start lfi in another one"
        )
    if path.is_dir():
        refuse_pipes(path)
        return path
    if name.count('/') <= 1 and name[:1] not in ('.', '/', '~'):
        return None
    raise FileNotFoundError(f'teacher folder not found: {path}')


def fetched_folder(name: str) -> Path:
    """The folder in the cache of the Hub that has a repository's files, all of one commit.

    Args:
        name: of the repository; what is there is not fetched again.

    Raises:
        HfHubHTTPError, OSError, ValueError: if it cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    kinds = ['*.json', '*.jinja', '*.txt', '*.model', '*.safetensors']
    # Nothing in folders inside is needed; `consolidated` ones are the same weights again.
    other = ['*/*', 'consolidated*']
    folder = Path(snapshot_download(name, allow_patterns=kinds, ignore_patterns=other))
    if not _weights(folder):
        folder = Path(snapshot_download(name, allow_patterns=[*kinds, '*.bin'], ignore_patterns=other))
    return folder


def refuse_what_leads_elsewhere(folder: Path) -> None:
    """Refuse a folder with code that transformers would run, or whose files name others.

    Some of these are read by Rust, of which Python hears nothing.

    Raises:
        ValueError: for the first of them.
    """
    if (folder / 'custom_generate').exists():
        raise ValueError(
            f'{folder / "custom_generate"} is code, which transformers would run; nothing was read. If the '
            'weights are sound, remove it'
        )
    if (folder / 'adapter_config.json').exists():
        raise ValueError(
            f'{folder} holds an adapter, whose model is elsewhere: merge the two by '
            "peft's merge_and_unload, and save what comes of it"
        )
    for path in folder.glob('*.index.json'):
        files = _content(path).get('weight_map')
        if not isinstance(files, dict) or not all(map(_is_plain, files.values())):
            raise ValueError(f'{path} must have a weight_map whose files are beside it')
    config = folder / 'config.json'
    content = _content(config)
    if 'configuration_files' in content:
        raise ValueError(
            f'{config} has configuration_files, which transformers would read in its place: remove the key'
        )
    leads = [key for key, value in _entries(content) if _has_other_weights(key, value)]
    if leads:
        raise ValueError(f'{config} has weights elsewhere, by {leads[0]}: give a complete model')
    refuse_other_tokenizers(folder)


def refuse_other_tokenizers(folder: Path) -> None:
    """Refuse a folder whose processor or tokenizer is made of files elsewhere.

    Raises:
        ValueError: if a file in it names them.
    """
    for name in PROCESSOR_FILES:
        entries = _entries(_content(folder / name))
        leads = [key for key, value in entries if _leads_elsewhere(key, value)]
        if leads:
            raise ValueError(f'{folder / name} names other files by {", ".join(leads)}: remove them')


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a config, at any depth."""
    if isinstance(value, list):
        for part in value:
            yield from _entries(part)
    for key, part in value.items() if isinstance(value, dict) else ():
        yield key, part
        yield from _entries(part)


def _has_other_weights(key: str, value: Any) -> bool:
    """Whether an entry of a config names weights; timm's are fetched, or are a pickle."""
    if key == 'model_type':
        return isinstance(value, str) and value.startswith('timm')
    return bool(value) and key in ('transformers_weights', 'backbone', 'backbone_config', 'checkpoint_path')


def _leads_elsewhere(key: str, value: Any) -> bool:
    """Whether an entry of a processor's config has it read what is not in the folder."""
    if key.startswith('audio_tokenizer') or key in READ_ELSEWHERE:
        return bool(value)
    if key == 'fast_tokenizer_files':
        return not (isinstance(value, list) and all(map(_is_plain, value)))
    # A path of another machine is not there, and nothing is read. A number is that of an open file.
    names_file = key.endswith(('_file', '_spm')) or key == 'vocab'
    return names_file and isinstance(value, str | int) and os.path.exists(value)


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name


def _content(path: Path) -> dict[str, Any]:
    """The object in a file of JSON; empty where there is none, which is told by who reads it.

    Raises:
        ValueError: if it is no file of a disk, which need not have an end; or larger than `MOST_BYTES`.
    """
    if not path.exists():
        return {}
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise ValueError(f'{path} is no file, or has more than {MOST_BYTES:,} bytes: it was not read')
    try:
        content = json.loads(read_start(path, MOST_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def has_weights(folder: Path, allow_random: bool) -> bool:
    """Whether a folder has weights.

    Args:
        folder: of a generative VLM.
        allow_random: whether it may have none.

    Raises:
        FileNotFoundError: for what else it lacks, or for the weights.
    """
    for what, files in FILES.items():
        if not any((folder / file).is_file() for file in files):
            raise FileNotFoundError(f'teacher folder {folder} has no {what}: {" or ".join(files)}')
    found = _weights(folder)
    if not found and not allow_random:
        raise FileNotFoundError(
            f'teacher folder {folder} has no weights (*.safetensors or *.bin); random weights need '
            'allow_random=True'
        )
    return found


def _weights(folder: Path) -> bool:
    return any(path.suffix in ('.safetensors', '.bin') for path in folder.iterdir())
