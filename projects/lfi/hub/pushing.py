"""Uploading of students and caches to the Hugging Face Hub."""

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
from lfi.student_folder import read_student, student_files
from lfi.utils.repositories import CARD, CONFIG, MANIFEST, TEXT_FILES, HubError, first_lines

from .cards import NAME, cache_card
from .loading import open_verified_cache
from .saving import save_pretrained

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

# Repository names in a card. The limits on length and first character keep the search fast.
_REPOSITORY_NAME = re.compile(
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
    text_tower: bool | None = None,
    model_card: Mapping[str, Any] = MappingProxyType({}),
) -> CommitInfo:
    """Upload a student, or a teacher's cache, to the Hugging Face Hub, in one commit.

    Args:
        model: student, checkpoint or folder of a run, as in `save_pretrained`; folder from `save_pretrained`;
            or folder of a cache, which is uploaded as a dataset with a card.
        repo_id: `user/name` of the repository; created if missing.
        commit_message: message of the commit. Defaults to None: it names the kind of upload.
        private: whether a new repository is private. Defaults to None: the user's setting on the Hub.
        token: access token of the Hub. Defaults to None: the stored token.
        revision: branch; created if missing. Defaults to None: the main branch.
        create_pr: whether to open a pull request instead of a commit. Defaults to False.
        config: config of the training. Defaults to None. See `save_pretrained`.
        readout: whether to keep the read-out. Defaults to True. See `save_pretrained`.
        text_tower: whether to store the teacher's text tower. Defaults to None. See `save_pretrained`.
        model_card: further YAML fields of the card. Defaults to none. An existing card of a cache is kept.

    Returns:
        The commit; `commit_url` is its address.

    Raises:
        HubError: if the Hub refuses the upload, a folder is corrupted, or a file in it is a link that the
            Hub's own cache did not make.
        UsageError: if `save_pretrained` cannot save the student, or `config`, `readout`, `text_tower` or
            `model_card` is set for a folder from `save_pretrained`.
        CacheError: if a cache is unfinished or corrupted.
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
        cache = open_verified_cache(folder)
        card = cache_card(cache.manifest, model_card)
        names = [*(file.name for file in cache.files), CARD]
        return upload(_files(folder, names, repo_id, card), 'dataset')
    if folder is not None and (folder / CONFIG).is_file():
        if config is not None or not readout or text_tower is not None or model_card:
            raise UsageError(
                f'{folder} is a saved student with its own config, read-out and card: leave out config, '
                'readout, text_tower and model_card, or give the checkpoint'
            )
        # Raises an error if the student cannot be loaded.
        read_student(folder)
        return upload(_files(folder, student_files(folder), repo_id), 'model')
    with TemporaryDirectory() as temporary:
        options: dict[str, Any] = dict(
            config=config, readout=readout, text_tower=text_tower, model_card=model_card
        )
        saved = Path(save_pretrained(model, temporary, **options))
        return upload(_files(saved, student_files(saved), repo_id), 'model')


def _files(folder: Path, names: Iterable[str], repo_id: str, card: str = '') -> dict[str, Path | bytes]:
    """Collect the existing files of a folder by name; a card of the folder replaces `card`.

    Raises:
        HubError: if a path is a link or not a file, or the card is not UTF-8 text.
    """
    files: dict[str, Path | bytes] = {name: folder / name for name in names if (folder / name).exists()}
    for name in files:
        _refuse_links(folder, name)
    if isinstance(card_file := files.get(CARD), Path):
        try:
            card = card_file.read_text(encoding='utf-8')
        except UnicodeDecodeError as error:
            raise HubError(f'{card_file} is not UTF-8 text: {error}') from error
    files[CARD] = _rename_repository(card, repo_id).encode()
    return files


def _refuse_links(folder: Path, name: str) -> None:
    """Refuse links, which could publish files outside the folder, unless the Hub's cache made them."""
    path, root = folder / name, Path(os.path.realpath(folder))
    target = Path(os.path.realpath(path))
    in_hub_cache = root.parent.name == 'snapshots' and target.parent == root.parent.parent / 'blobs'
    if target != root / name and not in_hub_cache:
        raise HubError(f'{path} is a link to {target}, and links are not uploaded: replace it by a file')
    if not path.is_file():
        raise HubError(f'{path} is not a file: remove it')


def _rename_repository(card: str, repo_id: str) -> str:
    """Replace the placeholder, or the repository name, in a card by `repo_id`."""
    match = _REPOSITORY_NAME.search(card)
    name = next(filter(None, match.groups())) if match else NAME
    # The lookarounds spare longer names that contain this one.
    return re.sub(rf'(?<![\w.-]){re.escape(name)}(?![/.-]*\w)', lambda _: repo_id, card)


def _commit(
    files: Mapping[str, Path | bytes],
    repo_type: str,
    *,
    repo_id: str,
    private: bool | None,
    commit_message: str | None,
    token: str | bool | None,
    revision: str | None,
    create_pr: bool,
) -> CommitInfo:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError

    api = HfApi(token=token, library_name='lfi')
    content_name = 'a cache of interaction maps' if repo_type == 'dataset' else 'a student'
    try:
        api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
        if revision is not None and not revision.startswith('refs/'):
            api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True)
        # A text tower of an earlier upload would belong to no student.
        existing = api.repo_info(repo_id, repo_type=repo_type, revision=revision).siblings or ()
        outdated = {file.rfilename for file in existing}.intersection(TEXT_FILES) - files.keys()
        return api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name, is_folder=False) for name in sorted(outdated)),
            ],
            commit_message=commit_message or f'Upload {content_name} by lfi',
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
        )
    # Without a network it is an OSError, and from huggingface_hub 1 on an HTTPError of httpx.
    except (HTTPError, HFValidationError, OSError, ValueError) as error:
        raise HubError(f'the Hub does not take {repo_id}: {first_lines(error)}') from error
