"""Files of a saved student's texts: embeddings, and the text tower of the teacher."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lfi.errors import UsageError, as_usage_error
from lfi.models.teachers.cached_teacher import bank_of
from lfi.models.teachers.stored_texts import StoredTexts
from lfi.models.teachers.stored_tower import has_text_tower, write_text_tower
from lfi.models.teachers.text_tower import MIN_COSINE, TextTower
from lfi.structures.interaction_cache import CacheFolder
from lfi.utils.process import offline
from lfi.utils.repositories import TEXTS_FILE, TOWER_FILES, TOWER_FOLDER, first_lines

TEACHER_ERRORS = (ImportError, OSError, RuntimeError, TypeError, ValueError)


def student_texts(student: Any, cache: str | None) -> dict[str, bytes | Path]:
    """Return the file of a student's embeddings by its path in the folder.

    The file is left out, with a warning, if this machine has neither the training's teacher nor its cache,
    and if the teacher has random weights, which are others each time.

    Args:
        student: student that answers texts.
        cache: the teacher's cache, which holds the embeddings too; or None.
    """
    teacher = student.teacher_cfg
    if teacher is None or teacher.get('allow_random'):
        return {}
    try:
        # Saving fetches nothing.
        with offline():
            texts = TextTower(teacher, stored=_texts_of_cache(cache)).texts_to_store()
        _check_trained_with(student, texts)
    except TEACHER_ERRORS as error:
        print_log(
            'The student is saved without the embeddings of its texts, and answers texts only where its '
            f'teacher is: {first_lines(error)}',
            'current',
            logging.WARNING,
        )
        return {}
    return {TEXTS_FILE: texts.to_bytes()}


def _texts_of_cache(cache: str | None) -> StoredTexts | None:
    """Return the texts of a cache; None without a cache that can be read."""
    if cache is None:
        return None
    try:
        bank = bank_of(CacheFolder(cache))
    except (OSError, UsageError, ValueError):
        return None
    return StoredTexts(bank.names, bank.templates, bank.embeddings)


def _check_trained_with(student: Any, texts: StoredTexts) -> None:
    """Check that embeddings are those that a student was trained with, which its contrast texts repeat.

    Raises:
        ValueError: if a contrast text is not among the embeddings: the teacher was replaced.
    """
    contrast = getattr(student.readout, 'contrast_texts', None)
    if contrast is None or getattr(student.predict_by, 'has_class_names', False):
        return
    contrast = contrast[contrast.any(1)].cpu()
    if not len(contrast):
        return
    same_width = contrast.shape[1] == texts.embeddings.shape[1]
    if not same_width or (contrast @ texts.embeddings.T).amax(1).min() < MIN_COSINE:
        raise ValueError('the teacher on this machine embeds the texts differently from that of the training')


def text_tower_files(student: Any, temporary: Path) -> dict[str, bytes | Path]:
    """Write the text tower of a student's teacher to a folder, and return its files by their new path.

    Args:
        student: student that answers texts.
        temporary: empty folder for the files.

    Raises:
        UsageError: if the teacher is not on this machine, has random weights, or is not of open_clip.
    """
    teacher = student.require_teacher_cfg()
    folder = stored_tower(student)
    if folder is None:
        folder = temporary
        with as_usage_error(ImportError, OSError, RuntimeError, ValueError):
            write_text_tower(
                folder, teacher.get('model'), teacher.get('pretrained'), teacher.get('weights_file')
            )
    return {f'{TOWER_FOLDER}/{name}': folder / name for name in TOWER_FILES if (folder / name).is_file()}


def stored_tower(student: Any) -> Path | None:
    """Return the folder of the text tower that a loaded student was saved with, or None."""
    folder = (student.teacher_cfg or {}).get('text_folder')
    tower = None if folder is None else Path(folder) / TOWER_FOLDER
    return tower if tower is not None and has_text_tower(tower) else None
