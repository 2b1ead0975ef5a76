"""Addresses of the initial checkpoints of a config, without network access."""

from __future__ import annotations

import os.path as osp
import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.config import Config

from lfi.errors import UsageError, did_you_mean
from lfi.utils.config_types import type_name

MIRRORS = {'download.openmmlab.com': 'mmassets.onedl.ai'}
"""Hosts that are gone (open-mmlab/mmdetection#12445), and their mirrors with the same paths."""
ZOOS = {
    'torchvision': 'get_torchvision_models',
    'modelzoo': 'get_torchvision_models',
    'open-mmlab': 'get_external_models',
    'openmmlab': 'get_external_models',
    'mmcls': 'get_mmcls_models',
}
"""Functions of `mmengine.runner.checkpoint` that map the names of a scheme to URLs."""
# Names of ResNets of OpenMMLab that torchvision has too, with the same layers and training recipe.
RESNET = re.compile(r'(resnet(18|34|50|101|152))_(8xb32_in1k|batch256_imagenet)')
ZOO_HOSTS = (*MIRRORS, *MIRRORS.values(), 'download.pytorch.org')
HASH = re.compile(r'[-_][0-9a-f]{8}\.')
WEIGHT_SUFFIXES = ('.bin', '.ckpt', '.pt', '.pth', '.safetensors')


class NamedCheckpoint(NamedTuple):
    """A checkpoint that a config names.

    Args:
        key: key in the config, such as 'model.backbone.init_cfg.checkpoint'.
        checkpoint: path or address.
    """

    key: str
    checkpoint: str


def named_checkpoints(cfg: Config) -> Iterator[NamedCheckpoint]:
    """Yield the checkpoints in `load_from`, `init_cfg` of type 'Pretrained', and `pretrained`.

    `pretrained` may also be a tag, as in open_clip. Only addresses and files of weights count.
    """
    if cfg.get('load_from'):
        yield NamedCheckpoint('load_from', cfg.load_from)
    yield from _nested_checkpoints(cfg.to_dict(), '')


def _nested_checkpoints(value: Any, key: str) -> Iterator[NamedCheckpoint]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _nested_checkpoints(item, f'{key}[{index}]')
    if not isinstance(value, dict):
        return
    prefix = f'{key}.' if key else ''
    if type_name(value) in ('Pretrained', 'PretrainedInit') and isinstance(value.get('checkpoint'), str):
        yield NamedCheckpoint(f'{prefix}checkpoint', value['checkpoint'])
    pretrained = value.get('pretrained')
    if isinstance(pretrained, str) and ('://' in pretrained or pretrained.endswith(WEIGHT_SUFFIXES)):
        yield NamedCheckpoint(f'{prefix}pretrained', pretrained)
    for name, item in value.items():
        yield from _nested_checkpoints(item, f'{prefix}{name}')


def resolve_checkpoint(checkpoint: str) -> str:
    """Return the URL of a name such as `open-mmlab://resnet18_v1c`. Paths and URLs are returned as they are.

    Raises:
        UsageError: if the model zoo has no checkpoint of that name.
    """
    scheme, separator, name = checkpoint.partition('://')
    if not separator or scheme not in ZOOS:
        return checkpoint
    urls: dict[str, str] = getattr(mmengine_checkpoint, ZOOS[scheme])()
    if 'mmlab' in scheme:
        name = mmengine_checkpoint.get_deprecated_model_names().get(name, name)
    if name not in urls:
        raise UsageError(f'{scheme}:// has no checkpoint {name!r}; {did_you_mean(name, urls)}'.rstrip('; '))
    return urls[name]


def download_path(url: str, folder: str | None = None) -> str:
    """Return the path at which the file of a URL is stored after its download.

    It is that of torch hub for a model zoo's file, and for a name with a hash, such as resnet50-0676ba61.pth.
    Other names, such as epoch_10.pth, are those of many files, and have a folder for each URL.

    Args:
        url: address of the file.
        folder: folder of downloaded files. Defaults to None: torch hub's.
    """
    folder = folder or osp.join(torch.hub.get_dir(), 'checkpoints')
    parts = urlsplit(url)
    name = osp.basename(parts.path)
    if parts.hostname not in ZOO_HOSTS and not HASH.search(name):
        # A signature differs each time.
        folder = osp.join(folder, blake2b(url.partition('?')[0].encode(), digest_size=8).hexdigest())
    return osp.join(folder, name)


def gone_host_message(url: str) -> str:
    """Return the message for a URL on a host that is gone, with a replacement; '' for other hosts."""
    parts = urlsplit(url)
    mirror = MIRRORS.get((parts.hostname or '').lower())
    if mirror is None:
        return ''
    replacement = urlunsplit(parts._replace(scheme='https', netloc=mirror))
    resnet = RESNET.match(osp.basename(parts.path))
    alternative = f'; or, for a backbone, torchvision://{resnet[1]} with prefix=None' if resnet else ''
    return f'the host {parts.hostname} is gone: write {replacement}{alternative}'
