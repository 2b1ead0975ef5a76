"""The teacher that a command line names, as a config says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import open_clip

from lfi.arguments import nearest
from lfi.config_files import teacher_config, teacher_names
from lfi.errors import UsageError
from lfi.models.teachers.model_config import open_clip_config, text_dims_of

from .source import Call

MANY = 32
ASKED = 16
"""Of more than `MANY` concepts an image is asked about so many."""
DENSE_SIZE = 448
"""Side in pixels of the images that the teacher of a detector or segmentor sees, as in our own configs."""


def check_teacher_name(name: str) -> None:
    """Check that a teacher is known: one of our configs', or MODEL:TAG of open_clip.

    Raises:
        UsageError: if it is not; the message names the nearest.
    """
    model, _, tag = name.partition(':')
    tags = open_clip.list_pretrained_tags_by_model(model)
    if name in teacher_names() or tag in tags:
        return
    if tag and tags:
        near, known = nearest(tag, tags), f'{model} has the tags {", ".join(tags)}'
    else:
        near = nearest(name, [*teacher_names(), *open_clip.list_models()])
        known = f'choose from {", ".join(teacher_names())}, or MODEL:TAG of those that lfi teachers lists'
    raise UsageError(f'--teacher {name} is unknown{near and f"; {near}"} ({known})')


def asked_teacher(name: str, concepts: Any, num_concepts: int, is_dense: bool) -> tuple[Call, dict[str, Any]]:
    """A teacher with what it is asked about.

    Args:
        name: as `check_teacher_name` takes it.
        concepts: the names, or what names them.
        num_concepts: how many these are.
        is_dense: whether the task's images are large.

    Returns:
        How a config says it, and its config.

    Raises:
        UsageError: if the width of its texts is not known, since the folder of its model is missing.
    """
    if name in teacher_names():
        given: dict[str, Any] = {}
        config = teacher_config(name)
    else:
        model, _, tag = name.partition(':')
        given = config = {'type': 'lfi.VLMAttentionTeacher', 'model': model, 'pretrained': tag}
    more: dict[str, Any] = {'concepts': concepts}
    if config.get('concepts') == concepts:
        more = {}
    if num_concepts > MANY:
        more['max_concepts'] = ASKED
    try:
        text_dims_of({**config, **more, 'concepts': concepts})
        if is_dense and _can_be_larger(config['model']):
            more['input_size'] = DENSE_SIZE
    except (OSError, ValueError) as error:
        raise UsageError(f'--teacher {name}: {error}') from error
    if given:
        return Call('dict', (), {**given, **more}), {**config, **more}
    return Call("__import__('lfi').teacher_config", (name,), more), {**config, **more}


def _can_be_larger(model: str) -> bool:
    """Whether a model is a ViT of open_clip, whose position embeddings are interpolated, for small images."""
    vision: Mapping[str, Any] = open_clip_config(model)['vision_cfg']
    size, patch = vision.get('image_size', 224), vision.get('patch_size')
    own_vit = patch is not None and 'timm_model_name' not in vision
    return own_vit and isinstance(size, int) and size < DENSE_SIZE and DENSE_SIZE % patch == 0
