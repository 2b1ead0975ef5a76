"""Sources of students and caches: local folders and repositories of the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lfi.errors import UsageError
from lfi.utils.stored_folders import is_stored_folder, read_folder
from lfi.utils.stores import StoreError, is_address, public_address

HUB = 'hf://'
"""Prefix of repository names where a path may be given too; data sets begin with `hf://datasets/`."""
CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
MANIFEST = 'manifest.json'
TEXTS_FILE = 'texts.safetensors'
"""File of a student with the embeddings of its training's texts."""
TOWER_FOLDER = 'text_tower'
"""Folder of a student with the text tower of its teacher."""
TOWER_CONFIG, TOWER_WEIGHTS = 'open_clip_config.json', 'open_clip_model.safetensors'
TOWER_FILES = (
    TOWER_CONFIG,
    TOWER_WEIGHTS,
    # Files of the tokenizers of transformers.
    'added_tokens.json',
    'merges.txt',
    'sentencepiece.bpe.model',
    'special_tokens_map.json',
    'spiece.model',
    'tokenizer.json',
    'tokenizer.model',
    'tokenizer_config.json',
    'vocab.json',
    'vocab.txt',
)
"""All files that the folder of a text tower may have."""
TEXT_FILES = (TEXTS_FILE, *(f'{TOWER_FOLDER}/{name}' for name in TOWER_FILES))
# Files that are downloaded from a repository.
STUDENT_FILES = (CONFIG, WEIGHTS, CARD, *TEXT_FILES)
CACHE_FILES = (
    MANIFEST,
    'texts.npy',
    'index.npy',
    'index-blocks.npy',
    '*.safetensors',
    CARD,
)
MAX_MESSAGE = 4000
"""Largest number of characters of an error's message."""
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f]')
_NAME = re.compile(r'(?P<datasets>datasets/)?(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?')


class HubError(UsageError):
    """A folder or a repository of a student or a cache that cannot be read or written.

    Args:
        message: message. It is shortened to one line, and control characters are escaped for the terminal.
    """

    def __init__(self, message: str) -> None:
        line = ' '.join(message[:MAX_MESSAGE].splitlines())
        escaped = _CONTROL.sub(lambda match: repr(match[0])[1:-1], line)
        super().__init__(escaped if len(message) <= MAX_MESSAGE else f'{escaped}...')


@dataclass(frozen=True)
class Repository:
    """A repository of the Hugging Face Hub.

    Args:
        name: name as `user/name`.
        kind: 'model' for a student, 'dataset' for a cache.
        revision: branch, tag or commit. Defaults to None: the main branch.
    """

    name: str
    kind: Literal['model', 'dataset']
    revision: str | None = None

    @classmethod
    def of(cls, source: str) -> Repository:
        """Parse a name: `[hf://][datasets/]user/name[@revision]`.

        Raises:
            HubError: if the name has another form.
        """
        match = _NAME.fullmatch(source.removeprefix(HUB))
        if match is None:
            raise HubError(
                f'{source} is neither a folder nor a repository: give an existing folder, '
                f'{HUB}user/name for a student, or {HUB}datasets/user/name for a cache; @revision may follow'
            )
        return cls(match['name'], 'dataset' if match['datasets'] else 'model', match['revision'])

    @property
    def address(self) -> str:
        """Name with all prefixes and the revision, for configs."""
        kind = 'datasets/' if self.kind == 'dataset' else ''
        return f'{HUB}{kind}{self.name}{f"@{self.revision}" if self.revision else ""}'


def is_student(source: str | Path) -> bool:
    """Whether a config or a checkpoint is a student's folder, here or in a store, or a repository."""
    if str(source).startswith(HUB) or is_stored_folder(source):
        return True
    return Path(source).is_dir() and (Path(source) / CONFIG).is_file()


def local_folder(
    source: str | Path,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    kind: Literal['model', 'dataset'] | None = None,
) -> Path:
    """Return the folder of a source; a repository is downloaded once, into the cache of `huggingface_hub`.

    A student's folder in a store is copied, see `read_folder`.

    Args:
        source: folder, its address in a store, or repository in the form of `Repository.of`.
        revision: branch, tag or commit. Defaults to None: the revision in `source`, or else the main branch.
        token: token of the Hub. Defaults to None: the stored token, if any.
        cache_dir: download folder. Defaults to None: the cache of `huggingface_hub`.
        local_files_only: whether to read downloaded files only. Defaults to False.
        kind: kind of repository. Defaults to None: the kind in `source`.

    Raises:
        HubError: if the source is neither a folder nor a repository, or the download fails.
        StoreError: if the store cannot be read, or has no student at the address.
    """
    if is_stored_folder(source) and not str(source).startswith(HUB):
        folder = read_folder(str(source), STUDENT_FILES)
        if not (folder / CONFIG).is_file():
            raise StoreError(
                f'{public_address(str(source))} is not there, or has no {CONFIG}: give a folder of '
                'lfi.save_pretrained'
            )
        return folder
    if not str(source).startswith(HUB) and Path(source).is_dir():
        return Path(source)
    repository = Repository.of(str(source))
    repository = replace(repository, kind=kind or repository.kind)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        snapshot = snapshot_download(
            repository.name,
            repo_type=repository.kind,
            revision=revision or repository.revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=list(STUDENT_FILES if repository.kind == 'model' else CACHE_FILES),
        )
    # Without network and without an earlier download it is a FileNotFoundError.
    except (HTTPError, HFValidationError, OSError, ValueError) as error:
        raise HubError(
            f'{source} is not a folder, and the Hub does not give {repository.address}: {first_lines(error)}'
        ) from error
    return Path(snapshot)


def cache_folder(source: str | Path) -> str:
    """Return the folder of a cache, or its address in a store.

    `local_folder` downloads a source `hf://[datasets/]user/name`.
    """
    if str(source).startswith(HUB):
        return str(local_folder(source, kind='dataset'))
    return str(source) if is_address(source) else str(Path(source))


def first_lines(error: BaseException) -> str:
    """Return the first two lines of an error's message as one line, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ' '.join(lines[:2]).rstrip('.') or type(error).__name__
