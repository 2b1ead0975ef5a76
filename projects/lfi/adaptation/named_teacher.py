"""The teacher that a command line names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip

from lfi.config_files import teacher_config, teacher_names
from lfi.errors import UsageError, nearest
from lfi.models.teachers.loading.weights import check_name


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
