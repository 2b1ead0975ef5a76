"""Where the checkpoints lie that a config begins with, without asking any host."""

from __future__ import annotations

import os.path as osp
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.config import Config

from lfi.errors import UsageError, nearest
from lfi.utils.config_types import type_name

MIRRORS = {'download.openmmlab.com': 'mmassets.onedl.ai'}
"""Hosts that are gone (open-mmlab/mmdetection#12445), and those that keep their files at the same paths."""
ZOOS = {
    'torchvision': 'get_torchvision_models',
    'modelzoo': 'get_torchvision_models',
    'open-mmlab': 'get_external_models',
    'openmmlab': 'get_external_models',
    'mmcls': 'get_mmcls_models',
}
"""Functions of `mmengine.runner.checkpoint` that map the names of a scheme to addresses."""
# What torchvision has too, of the same layout and from the same recipe.
RESNET = re.compile(r'(resnet(18|34|50|101|152))_(8xb32_in1k|batch256_imagenet)')
OF_WEIGHTS = ('.bin', '.ckpt', '.pt', '.pth', '.safetensors')


class Named(NamedTuple):
    """A checkpoint that a config names.

    Args:
        key: where it stands in the config.
        checkpoint: what stands there: a path, or an address.
    """

    key: str
    checkpoint: str


def named_checkpoints(cfg: Config) -> Iterator[Named]:
    """All that a training begins with: `load_from`, each `init_cfg` of type 'Pretrained', and `pretrained`.

    `pretrained` may name other things too, such as a tag of open_clip: it counts where it is an address, or a
    file of weights.
    """
    if cfg.get('load_from'):
        yield Named('load_from', cfg.load_from)
    yield from _named(cfg.to_dict(), '')


def _named(value: Any, key: str) -> Iterator[Named]:
    if isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _named(each, f'{key}[{place}]')
    if not isinstance(value, dict):
        return
    begin = f'{key}.' if key else ''
    if type_name(value) in ('Pretrained', 'PretrainedInit') and isinstance(value.get('checkpoint'), str):
        yield Named(f'{begin}checkpoint', value['checkpoint'])
    own = value.get('pretrained')
    if isinstance(own, str) and ('://' in own or own.endswith(OF_WEIGHTS)):
        yield Named(f'{begin}pretrained', own)
    for name, each in value.items():
        yield from _named(each, f'{begin}{name}')


def address_of(checkpoint: str) -> str:
    """The address, or the path, for which a name such as `open-mmlab://resnet18_v1c` stands.

    Raises:
        UsageError: if nothing has that name.
    """
    scheme, found, name = checkpoint.partition('://')
    if not found or scheme not in ZOOS:
        return checkpoint
    known: dict[str, str] = getattr(mmengine_checkpoint, ZOOS[scheme])()
    if 'mmlab' in scheme:
        name = mmengine_checkpoint.get_deprecated_model_names().get(name, name)
    if name not in known:
        raise UsageError(f'{scheme}:// has no checkpoint {name!r}; {nearest(name, known)}'.rstrip('; '))
    return known[name]


def kept_file(url: str, folder: str | None = None) -> str:
    """Where the file of an address is kept once it was downloaded.

    Args:
        url: the address.
        folder: of such files. Defaults to None, torch hub's.
    """
    folder = folder or osp.join(torch.hub.get_dir(), 'checkpoints')
    return osp.join(folder, osp.basename(urlsplit(url).path))


def said_of_gone(url: str) -> str:
    """The message for an address on a host that is gone, with the replacement; '' for other hosts."""
    parts = urlsplit(url)
    mirror = MIRRORS.get((parts.hostname or '').lower())
    if mirror is None:
        return ''
    instead = urlunsplit(parts._replace(scheme='https', netloc=mirror))
    resnet = RESNET.match(osp.basename(parts.path))
    other = f'; or, for a backbone, torchvision://{resnet[1]} with prefix=None' if resnet else ''
    return f'the host {parts.hostname} is gone: write {instead}{other}'
