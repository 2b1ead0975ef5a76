"""Uploading a student or a cache to the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from torch import nn

from lfi.errors import UsageError
from lfi.student_folder import read_student
from lfi.utils.repositories import CARD, CONFIG, MANIFEST, STUDENT_FILES, HubError, first_line

from .cards import NAME, cache_card
from .loading import verified_cache
from .saving import save_pretrained

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

# Where a card names its repository. Names are short, and begin as words do: others are slow to look for.
_NAMED = re.compile(
    r"lfi\.from_pretrained\('(\w[^']{0,199})'\)|teacher\.cache=hf://datasets/(\w\S{0,199})(?!\S)"
)


def push_to_hub(
    model: nn.Module | str | Path,
    repo_id: str,
    *,
    commit_message: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    config: Config | str | Path | None = None,
    readout: bool = True,
    model_card: Mapping[str, Any] = MappingProxyType({}),
) -> CommitInfo:
    """Upload a student, or a teacher's cache, to the Hugging Face Hub, in one commit.

    Args:
        model: a student, a checkpoint or the folder of a run, as `save_pretrained` takes them; a folder that
            it wrote; or the folder of a cache, which becomes a dataset with a card.
        repo_id: `user/name`; made if it is not there.
        commit_message: Defaults to None: it says what is uploaded.
        private: whether a new repository is private. Defaults to None: as the user's settings say.
        token: of the Hub's user. Defaults to None: the one that is stored.
        revision: branch; made if it is not there. Defaults to None: the main branch.
        create_pr: whether to open a pull request in place of a commit. Defaults to False.
        config: as of `save_pretrained`.
        readout: likewise.
        model_card: likewise, or of a cache's card. A cache that has a card keeps it.

    Returns:
        What the Hub says of the commit; `commit_url` is its address.

    Raises:
        HubError: if the Hub refuses it; or a folder is corrupted, or a file of it is a link. Links of the
            Hub's own cache are followed.
        UsageError, CacheError: as `save_pretrained` and `InteractionCache` say; and UsageError if a student's
            folder is to be changed by `config`, `readout` or `model_card`.
    """
    upload = partial(
        _commit,
        repo_id=repo_id,
        private=private,
        commit_message=commit_message,
        token=token,
        revision=revision,
        create_pr=create_pr,
    )
    folder = None if isinstance(model, nn.Module) else Path(model)
    if folder is not None and (folder / MANIFEST).is_file():
        cache = verified_cache(folder)
        card = cache_card(cache.manifest, model_card)
        return upload(_files([*cache.files, folder / CARD], repo_id, card), 'dataset')
    if folder is not None and (folder / CONFIG).is_file():
        if config is not None or not readout or model_card:
            raise UsageError(
                f'{folder} is a finished student, whose config, read-out and card are those of its saving: '
                'leave these arguments out, or give its checkpoint'
            )
        # What cannot be loaded is not uploaded.
        read_student(folder)
        return upload(_files([folder / name for name in STUDENT_FILES], repo_id), 'model')
    with TemporaryDirectory() as made:
        saved = save_pretrained(model, made, config=config, readout=readout, model_card=model_card)
        return upload(_files([saved / name for name in STUDENT_FILES], repo_id), 'model')


def _files(paths: Iterable[Path], repo_id: str, card: str = '') -> dict[str, Path | bytes]:
    """Those that are there, by their names; the card is the folder's, or else the one given.

    Raises:
        HubError: if one is a link, or no file; or the card is no text in UTF-8.
    """
    there = [path for path in paths if path.exists()]
    for path in there:
        _refuse_links(path)
    files: dict[str, Path | bytes] = {path.name: path for path in there}
    if isinstance(own := files.get(CARD), Path):
        try:
            card = own.read_text(encoding='utf-8')
        except UnicodeDecodeError as error:
            raise HubError(f'{own} is no text in UTF-8: {error}') from error
    files[CARD] = _renamed(card, repo_id).encode()
    return files


def _refuse_links(path: Path) -> None:
    """Refuse what a stranger's folder could publish of this machine; the Hub's cache keeps its files so."""
    target, folder = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent))
    in_hub_cache = folder.parent.name == 'snapshots' and target.parent == folder.parent.parent / 'blobs'
    if path.is_symlink() and not in_hub_cache:
        raise HubError(
            f'{path} is a link to {target}, and no link is uploaded: remove it, or put a file there'
        )
    if not path.is_file():
        raise HubError(f'{path} is no file: remove it')


def _renamed(card: str, repo_id: str) -> str:
    """A card with this repository's name, where it had none, or that of the one it was downloaded from."""
    found = _NAMED.search(card)
    name = next(filter(None, found.groups())) if found else NAME
    # No part of a longer name.
    return re.sub(rf'(?<![\w.-]){re.escape(name)}(?![/.-]*\w)', lambda _: repo_id, card)


def _commit(
    files: Mapping[str, Path | bytes],
    kind: str,
    *,
    repo_id: str,
    private: bool | None,
    commit_message: str | None,
    token: str | bool | None,
    revision: str | None,
    create_pr: bool,
) -> CommitInfo:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token, library_name='lfi')
    what = 'a cache of interaction maps' if kind == 'dataset' else 'a student'
    try:
        api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True)
        if revision is not None and not revision.startswith('refs/'):
            api.create_branch(repo_id, repo_type=kind, branch=revision, exist_ok=True)
        return api.create_commit(
            repo_id,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=commit_message or f'Upload {what} by lfi',
            repo_type=kind,
            revision=revision,
            create_pr=create_pr,
        )
    # `requests` raises OSErrors where there is no network.
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise HubError(f'the Hub does not take {repo_id}: {first_line(error)}') from error
