"""Where a student or a cache is: a folder, or a repository of the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lfi.errors import UsageError

HUB = 'hf://'
"""How the names of repositories begin where a file could be meant; datasets follow as `hf://datasets/`."""
CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
MANIFEST = 'manifest.json'
# What is read of a repository; nothing else of it comes to this machine.
STUDENT_FILES = (CONFIG, WEIGHTS, CARD)
CACHE_FILES = (
    MANIFEST,
    'keys.npy',
    'sizes.npy',
    'texts.npy',
    'shard-*.npy',
    'shard-*.blake2b',
    'shard-*.unread.json',
    CARD,
)
MOST_SHOWN = 4000
"""Characters of an error's message."""
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f]')
_NAME = re.compile(r'(?P<datasets>datasets/)?(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?')


class HubError(UsageError):
    """A folder or a repository that cannot be read or written as a student's or a cache's.

    Args:
        message: what is wrong. It becomes one line, and of what someone else has written in it no control
            reaches the terminal.
    """

    def __init__(self, message: str) -> None:
        line = ' '.join(message[:MOST_SHOWN].splitlines())
        shown = _CONTROL.sub(lambda found: repr(found[0])[1:-1], line)
        super().__init__(shown if len(message) <= MOST_SHOWN else f'{shown}...')


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub.

    Args:
        name: `user/name`.
        kind: 'model' for a student, 'dataset' for a cache.
        revision: branch, tag or commit. Defaults to None: the main branch.
    """

    name: str
    kind: Literal['model', 'dataset']
    revision: str | None = None

    @classmethod
    def of(cls, source: str) -> Repository:
        """Read a name: `[hf://][datasets/]user/name[@revision]`.

        Raises:
            HubError: if it is no such name.
        """
        found = _NAME.fullmatch(source.removeprefix(HUB))
        if found is None:
            raise HubError(
                f'{source} is neither a folder nor a repository: give a folder that is there, or '
                f'{HUB}user/name, {HUB}datasets/user/name for a cache, with @revision behind it if you like'
            )
        return cls(found['name'], 'dataset' if found['datasets'] else 'model', found['revision'])

    @property
    def address(self) -> str:
        """As a config names it."""
        kind = 'datasets/' if self.kind == 'dataset' else ''
        return f'{HUB}{kind}{self.name}{f"@{self.revision}" if self.revision else ""}'


def is_student(source: str | Path) -> bool:
    """Whether a config's or a checkpoint's name is that of a student's folder, or of a repository."""
    return str(source).startswith(HUB) or (Path(source).is_dir() and (Path(source) / CONFIG).is_file())


def local_folder(
    source: str | Path,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    kind: Literal['model', 'dataset'] | None = None,
) -> Path:
    """The folder that a source names; a repository is downloaded once, into the cache of `huggingface_hub`.

    Args:
        source: a folder, or a repository as `Repository.of` takes it.
        revision: of the repository. Defaults to the one that the source names, or else the main branch.
        token: of the Hub's user. Defaults to None: the one that is stored, if any.
        cache_dir: where repositories are kept. Defaults to `huggingface_hub`'s own folder.
        local_files_only: whether to ask no network. Defaults to False.
        kind: of the repository. Defaults to None: as the source names it.

    Raises:
        HubError: if there is no such folder and no such repository, or it cannot be fetched.
    """
    if not str(source).startswith(HUB) and Path(source).is_dir():
        return Path(source)
    repository = Repository.of(str(source))
    repository = replace(repository, kind=kind or repository.kind)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = snapshot_download(
            repository.name,
            repo_type=repository.kind,
            revision=revision or repository.revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=list(STUDENT_FILES if repository.kind == 'model' else CACHE_FILES),
        )
    # What finds no network, and no copy from before, is a FileNotFoundError.
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise HubError(
            f'{source} is not a folder, and the Hub does not give {repository.address}: {first_line(error)}'
        ) from error
    return Path(folder)


def cache_folder(source: str | Path) -> Path:
    """The folder of a cache; `hf://[datasets/]user/name` is downloaded. Errors as `local_folder`."""
    return local_folder(source, kind='dataset') if str(source).startswith(HUB) else Path(source)


def first_line(error: Exception) -> str:
    """What an error of the Hub says, without its advice of several lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ' '.join(lines[:2]).rstrip('.') or type(error).__name__
