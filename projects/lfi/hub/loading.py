"""Loading a student or a cache from a folder or from the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lfi.utils.repositories import MANIFEST, local_folder


def from_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Any:
    """Load a student, or open a teacher's cache, from a folder or a repository of the Hugging Face Hub.

    Nothing that is loaded is run: the config is data, and a type that OpenMMLab's and LFI's registries do not
    know is refused. A repository is downloaded once; of a cache every shard is verified.

    Args:
        source: a folder that `save_pretrained` wrote, or `lfi cache`; or a repository,
            `user/name`, of a cache `datasets/user/name`, both with `hf://` before them if you like.
        revision: branch, tag or commit. Defaults to None: the main branch.
        token: of the Hub's user. Defaults to None: the one that is stored, if any.
        cache_dir: where repositories are kept. Defaults to None: the folder of `huggingface_hub`.
        local_files_only: whether to ask no network. Defaults to False.

    Returns:
        A student in eval mode, on the CPU, which predicts and, with its read-out, answers texts (`ask`); its
        config is `cfg`, its classes are in `dataset_meta`. Of a cache an `InteractionCache`.

    Raises:
        HubError: if there is no such folder or repository, or it is not a student's, corrupted, of a later
            version, or refused.
        CacheError: if a cache is unfinished or corrupted.
    """
    folder = local_folder(source, revision, token, cache_dir, local_files_only)
    if (folder / MANIFEST).is_file():
        return verified_cache(folder)
    from lfi.student_folder import read_student

    return read_student(folder)


def verified_cache(folder: Path) -> Any:
    """Open a cache, and compare each shard with its checksum.

    Raises:
        CacheError: if it is unfinished or corrupted.
    """
    from lfi.structures.interaction_cache import InteractionCache

    cache = InteractionCache(folder)
    for shard in range(cache.manifest.num_shards):
        cache.shard(shard)
    return cache
