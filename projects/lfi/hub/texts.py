"""Files of a saved student's texts: embeddings, and the text tower of the teacher."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lfi.errors import UsageError, as_usage_error
from lfi.models.teachers import build_teacher
from lfi.models.teachers.stored_texts import StoredTexts
from lfi.models.teachers.stored_tower import write_text_tower
from lfi.models.teachers.text_tower import TextTower
from lfi.utils.process import offline
from lfi.utils.repositories import TEXTS_FILE, TOWER_FOLDER, first_lines

TEACHER_ERRORS = (ImportError, OSError, RuntimeError, TypeError, ValueError, UsageError)


def student_texts(student: Any, cache: str | None) -> dict[str, bytes | Path]:
    """Return the file of a student's embeddings by its path in the folder.

    The file is left out, with a warning, if this machine has neither the teacher nor its cache, and if the
    teacher has random weights, which are others each time.

    Args:
        student: student that answers texts.
        cache: the teacher's cache, which holds the embeddings too; or None.
    """
    teacher = student.teacher_cfg
    if teacher is None or teacher.get('allow_random'):
        return {}
    try:
        texts = _embed(teacher, cache, student.teacher_outputs)
    except TEACHER_ERRORS as error:
        print_log(
            'The student is saved without the embeddings of its texts, and answers texts only where its '
            f'teacher is: {first_lines(error)}',
            'current',
            logging.WARNING,
        )
        return {}
    return {TEXTS_FILE: texts.to_bytes()}


def _embed(teacher: Mapping[str, Any], cache: str | None, teacher_outputs: frozenset[str]) -> StoredTexts:
    # Saving fetches nothing.
    with offline():
        if cache is not None:
            try:
                bank = build_teacher({**teacher, 'cache': cache}, teacher_outputs).bank
                return StoredTexts(bank.names, bank.templates, bank.embeddings)
            except (OSError, UsageError, ValueError):
                # The cache was removed, or is of other concepts: the text tower embeds them.
                pass
        return TextTower(teacher).texts_to_store()


def text_tower_files(student: Any, temporary: Path) -> dict[str, bytes | Path]:
    """Write the text tower of a student's teacher to a folder, and return its files by their new path.

    Args:
        student: student that answers texts.
        temporary: empty folder for the files.

    Raises:
        UsageError: if the teacher is not on this machine, has random weights, or is not of open_clip.
    """
    teacher = student.require_teacher_cfg()
    stored = teacher.get('text_folder')
    folder = None if stored is None else Path(stored) / TOWER_FOLDER
    if folder is None or not folder.is_dir():
        folder = temporary
        with as_usage_error(ImportError, OSError, RuntimeError, ValueError):
            write_text_tower(
                folder, teacher.get('model'), teacher.get('pretrained'), teacher.get('weights_file')
            )
    return {f'{TOWER_FOLDER}/{path.name}': path for path in sorted(folder.iterdir())}
