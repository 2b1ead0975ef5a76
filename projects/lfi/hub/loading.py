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

    No loaded code is run: the config is data, and types outside the registries of OpenMMLab and LFI are
    refused. A repository is downloaded once. All shards of a cache are verified.

    Args:
        source: folder from `save_pretrained` or `lfi cache`; or repository, `user/name` of a student or
            `datasets/user/name` of a cache, with an optional `hf://` prefix.
        revision: branch, tag or commit. Defaults to None: the main branch.
        token: access token of the Hub. Defaults to None: the stored token, if any.
        cache_dir: folder for downloaded repositories. Defaults to None: the folder of `huggingface_hub`.
        local_files_only: whether to avoid the network. Defaults to False.

    Returns:
        A student in eval mode, on the CPU, with its config in `cfg` and its classes in `dataset_meta`; with a
        read-out it also answers texts (`ask`). Or an `InteractionCache`, or the `CacheFolder` of tar shards.

    Raises:
        HubError: if the folder or repository does not exist, holds no student, is corrupted or of a later
            version, or has a config that is refused.
        CacheError: if a cache is unfinished or corrupted.
    """
    folder = local_folder(source, revision, token, cache_dir, local_files_only)
    if (folder / MANIFEST).is_file():
        return open_verified_cache(folder)
    from lfi.student_folder import read_student

    return read_student(folder)


def open_verified_cache(folder: Path) -> Any:
    """Open a cache, and compare each shard with its checksum.

    Raises:
        CacheError: if the cache is unfinished or corrupted.
    """
    from lfi.structures.interaction_cache import CacheFolder, CacheManifest, InteractionCache, Shard

    cache_class = CacheFolder if CacheManifest.read(folder).has_sidecars else InteractionCache
    cache = cache_class(folder)
    for path in cache.files:
        if path.suffix == '.safetensors':
            cache.verify_shard(Shard(path, cache.manifest))
    return cache
