"""The teacher that a command line names, with what it is asked about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip

from lfi.config_files import teacher_config, teacher_names
from lfi.errors import UsageError, nearest
from lfi.models.teachers.loading.weights import check_name
from lfi.models.teachers.model_config import open_clip_config, text_dims_of

from .source import Call

MANY = 32
ASKED = 16
"""Of more than `MANY` concepts an image is asked about so many."""
DENSE_SIZE = 448
"""Side in pixels of the images that the teacher of a detector or segmentor sees, as in our own configs."""


def asked_teacher(name: str, concepts: Any, num_concepts: int, is_dense: bool) -> tuple[Call, dict[str, Any]]:
    """A teacher with what it is asked about.

    Args:
        name: as `named_teacher` takes it.
        concepts: the names, or what names them.
        num_concepts: how many these are.
        is_dense: whether the task's images are large.

    Returns:
        How a config says it, and its config.

    Raises:
        UsageError: if there is none of the name, or the width of its texts is not known, since the folder of
            its model is missing.
    """
    config = named_teacher(name)
    more: dict[str, Any] = {'concepts': concepts}
    if config.get('concepts') == concepts:
        more = {}
    if num_concepts > MANY:
        more['max_concepts'] = ASKED
    if num_concepts == 1 and not config.get('background'):
        # One text alone would be found in every image.
        more['background'] = ['background']
    try:
        text_dims_of({**config, **more, 'concepts': concepts})
        if is_dense and _can_be_larger(config['model']):
            more['input_size'] = DENSE_SIZE
    except (OSError, ValueError) as error:
        raise UsageError(f'--teacher {name}: {error}') from error
    whole = {**config, **more}
    if name in teacher_names():
        return Call("__import__('lfi').teacher_config", (name,), more), whole
    return Call('dict', (), whole), whole


def _can_be_larger(model: str) -> bool:
    """Whether a model is a ViT for small images, open_clip's or timm's: its positions are interpolated."""
    vision: Mapping[str, Any] = open_clip_config(model)['vision_cfg']
    size, patch = vision.get('image_size', 224), vision.get('patch_size')
    if 'timm_model_name' in vision:
        of_timm = re.match(r'(?:vit(?!_relpos)|eva|eva02)_.*_patch(\d+)_', vision['timm_model_name'])
        patch = int(of_timm[1]) if of_timm else None
    if not isinstance(size, int) or not isinstance(patch, int):
        return False
    return size < DENSE_SIZE and DENSE_SIZE % patch == 0


def named_teacher(name: str) -> dict[str, Any]:
    """The config of a teacher: of LFI's configs, of open_clip as MODEL:TAG, or in a folder.

    Raises:
        UsageError: if there is none of the name.
    """
    known = teacher_names()
    if name in known:
        return teacher_config(name)
    model, _, tag = name.partition(':')
    if Path(name).is_dir():
        return dict(type='lfi.VLMAttentionTeacher', model=name)
    if not tag:
        near = nearest(name, known)
        raise UsageError(
            f'--teacher {name} is not a folder and none of {", ".join(known)}{near and f"; {near}"}. '
            'Models of open_clip are given as MODEL:TAG, by `lfi teachers`'
        )
    try:
        check_name(model)
    except ValueError as error:
        raise UsageError(f'--teacher {name}: {error}') from error
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag not in tags:
        near = nearest(tag, tags)
        raise UsageError(f'--teacher {name}: {model} has the tags {", ".join(tags)}{near and f"; {near}"}')
    return dict(type='lfi.VLMAttentionTeacher', model=model, pretrained=tag)
