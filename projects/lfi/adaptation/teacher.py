"""Config of the teacher that a command line names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip

from lfi.config_files import teacher_config, teacher_names
from lfi.errors import UsageError, did_you_mean
from lfi.models.teachers.families import family_of
from lfi.models.teachers.loading.weights import check_name, refuse_repository
from lfi.models.teachers.model_config import open_clip_config, text_dims_of

from .source import Call

MAX_ALL_CONCEPTS = 32
SAMPLED_CONCEPTS = 16
"""Concepts for each image, if there are more than `MAX_ALL_CONCEPTS`."""
DENSE_SIZE = 448
"""Side in pixels of the input of a detector's or segmentor's teacher, as in LFI's configs."""
SMALL_IMAGE, SMALL_INPUT = 64, 128
"""Side in pixels of small images, and of a CNN teacher's input for them (research/decisions.md)."""


def configure_teacher(
    name: str, concepts: Any, num_concepts: int, is_dense: bool
) -> tuple[Call, dict[str, Any]]:
    """Return the config of a teacher for a task's concepts.

    Args:
        name: name of the teacher, see `find_teacher`.
        concepts: texts, or a config that names them.
        num_concepts: number of concepts.
        is_dense: whether the task's images are large.

    Returns:
        The teacher as a call in a config file, and its config.

    Raises:
        UsageError: if the teacher is not found, the width of its text space is unknown, or a concept is a
            text of its background.
    """
    config = find_teacher(name)
    changes: dict[str, Any] = {'concepts': concepts}
    if config.get('concepts') == concepts:
        changes = {}
    if num_concepts > MAX_ALL_CONCEPTS:
        changes['max_concepts'] = SAMPLED_CONCEPTS
    if num_concepts == 1 and not config.get('background'):
        # The softmax over one text is 1 in every image.
        changes['background'] = ['background']
    try:
        text_dims_of({**config, **changes, 'concepts': concepts})
        if is_dense and _can_be_larger(config['model']):
            changes['input_size'] = DENSE_SIZE
    except (OSError, ValueError) as error:
        raise UsageError(f'--teacher {name}: {error}') from error
    full_config = {**config, **changes}
    _check_background(name, full_config)
    if name in teacher_names():
        return Call("__import__('lfi').teacher_config", (name,), changes), full_config
    return Call('dict', (), full_config), full_config


def interactions_config(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the interactions, with the best reading of a teacher with background texts.

    Args:
        teacher: config of the teacher.
    """
    part: dict[str, Any] = {'type': 'lfi.Interactions'}
    if teacher.get('background'):
        # docs/teachers.md, "How to read it"
        part['reading'] = {'spatial_reading': 'concept_softmax', 'presence': 'best-location'}
    return part


def _check_background(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a class whose name is a text of the background too: both would share their probability."""
    concepts = config.get('concepts')
    classes = {str(text).casefold() for text in concepts} if isinstance(concepts, list) else set()
    same = next((text for text in config.get('background') or () if text.casefold() in classes), None)
    if same is not None:
        raise UsageError(
            f'--teacher {name}: {same!r} is a class, and a text of the background that the classes compete '
            'with: rename the class'
        )


def _can_be_larger(model: str) -> bool:
    """Whether a model is a ViT for images below `DENSE_SIZE` with positions that can be interpolated."""
    vision: Mapping[str, Any] = open_clip_config(model)['vision_cfg']
    size, patch = vision.get('image_size', 224), vision.get('patch_size')
    if 'timm_model_name' in vision:
        match = re.match(r'(?:vit(?!_relpos)|eva|eva02)_.*_patch(\d+)_', vision['timm_model_name'])
        patch = int(match[1]) if match else None
    if not isinstance(size, int) or not isinstance(patch, int):
        return False
    return size < DENSE_SIZE and DENSE_SIZE % patch == 0


def has_small_input(model: str) -> bool:
    """Whether a model is a CNN of open_clip, for images of more than `SMALL_INPUT` pixels.

    A ViT would have to interpolate its positions.
    """
    try:
        config = open_clip_config(model)
        family = family_of(config)
    except (OSError, ValueError, KeyError, TypeError):
        # A model of another project, or one whose files are missing, which loading reports.
        return False
    size = config['vision_cfg'].get('image_size', 224)
    return family.extractors == ('dense',) and isinstance(size, int) and size > SMALL_INPUT


def find_teacher(name: str) -> dict[str, Any]:
    """Return the config of a teacher.

    Args:
        name: name in LFI's configs, MODEL:TAG of open_clip, or a folder with an open_clip model.

    Raises:
        UsageError: if the teacher is not found.
    """
    names = teacher_names()
    if name in names:
        return teacher_config(name)
    model, _, tag = name.partition(':')
    if Path(name).is_dir():
        # A name alone would be one of open_clip's.
        return dict(type='lfi.VLMAttentionTeacher', model=name if os.sep in name else f'./{name}')
    if not tag:
        hint = did_you_mean(name, names).capitalize()
        raise UsageError(
            f'--teacher {name} is not a folder and none of {", ".join(names)}. {hint and f"{hint} "}'
            'Give a model of open_clip as MODEL:TAG: `lfi teachers` lists them'
        )
    if model == 'transformers':
        raise UsageError(f'--teacher {name} is a generative VLM, which needs a config: see docs/teachers.md')
    try:
        refuse_repository(name)
        check_name(model)
    except ValueError as error:
        raise UsageError(f'--teacher {name}: {error}') from error
    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag not in tags:
        hint = did_you_mean(tag, tags)
        raise UsageError(f'--teacher {name}: {model} has the tags {", ".join(tags)}{hint and f"; {hint}"}')
    return dict(type='lfi.VLMAttentionTeacher', model=model, pretrained=tag)
