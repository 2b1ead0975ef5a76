"""Presence and maps of texts by a teacher, in images, folders and videos."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement

from lfi.adaptation.teacher import find_teacher
from lfi.errors import UsageError
from lfi.registry import TRANSFORMS

from .drawing import draw_result
from .interaction_result import InteractionResult
from .readers import TeacherReader, check_no_background
from .sources import Source, list_sources

OPTIONS_BY_SETTING = {
    r'Set teacher\.input_size=\((\d+), \d+\)': r'Set --input-size \1',
    'give the file as weights_file, beside pretrained': (
        'give a folder with them and open_clip_config.json as --teacher'
    ),
    'give a folder as model:': 'give a folder as --teacher:',
    r'\b[Tt]emplates must': '--templates must',
    r"\. Where the teacher's config is not at hand, set readout\.text_dims.*": '',
}
"""Options of `lfi ask`, by the advice of a config's errors that they replace."""


def build_reader(
    name: str,
    texts: Sequence[str],
    templates: Sequence[str] | None = None,
    input_size: int | None = None,
    device: str | None = None,
) -> TeacherReader:
    """Build the reader of a named teacher, with the best `reading` for this teacher.

    Args:
        name: name of the teacher, see `find_teacher`.
        texts: texts to ask for.
        templates: prompts, with {} for the text. Defaults to None: the teacher's own.
        input_size: side that images are resized to, in pixels. Defaults to None: the teacher's own.
        device: device of the teacher. Defaults to None: a GPU if there is one.

    Raises:
        UsageError: if the teacher is not found or cannot be built.
    """
    teacher = find_teacher(name)
    reading = {}
    if 'background' in teacher:
        check_no_background(texts, teacher['background'], f"{name}'s own config")
        # Best reading of a teacher with its own background texts (docs/teachers.md).
        reading = dict(spatial_reading='concept_softmax', presence='best-location')
    supervision = dict(interactions=dict(type='lfi.Interactions', reading=reading))
    changes = dict(templates=templates, input_size=input_size)
    teacher.update({key: value for key, value in changes.items() if value is not None})
    try:
        return TeacherReader(
            Config(dict(model=dict(teacher=teacher, supervision=supervision))), texts, device
        )
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f'--teacher {name}: {_with_options_of_ask(str(error))}') from error


def _with_options_of_ask(message: str) -> str:
    """Return an error's message with options of `lfi ask` in place of a config's settings."""
    for setting, option in OPTIONS_BY_SETTING.items():
        message = re.sub(setting, option, message)
    return message


def teacher_result(
    reader: TeacherReader, image: np.ndarray, name: str = '', frame: int | None = None
) -> InteractionResult:
    """Return a teacher's result for an image, (H, W, 3) uint8 BGR, without a prediction."""
    (answer,) = reader([image])
    maps = answer.maps
    if reader.reading.spatial_reading == 'logits':
        # Logits have any sign, and only their differences have a meaning. What is above the mean lies in the
        # boxes of its concept by 43 % in photos of COCO (lit-lite0), and what is above the minimum by 30 %.
        maps = (maps - maps.mean((-2, -1), keepdim=True)).clamp_min(0)
    maps = maps / maps.sum((-2, -1), keepdim=True).clamp_min(1e-12)
    texts, no_prediction = reader.concepts, BaseDataElement()
    return InteractionResult(name, frame, image, no_prediction, texts, answer.presence, maps, answer.view)


def draw_with_teacher(
    result: InteractionResult, classes: Sequence[str], text_indices: Sequence[int], reader: TeacherReader
) -> np.ndarray:
    """Draw a student's result, and the teacher's maps of the same texts below it, (H, W, 3) uint8 RGB.

    Args:
        result: result of the student.
        classes: class names, by label.
        text_indices: indices of the texts to draw.
        reader: reader of the teacher, for the texts of the result.
    """
    image = result.image
    # Students may read grey images, or a fourth channel.
    image = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image[..., :3]
    answer = teacher_result(reader, image)
    return np.concatenate(
        [
            draw_result(result, classes, text_indices),
            draw_result(answer, (), text_indices, title='the teacher'),
        ]
    )


def teacher_results(
    reader: TeacherReader, inputs: Sequence[str | Source], frame_stride: int, skipped: list[str]
) -> Iterator[InteractionResult]:
    """Yield a teacher's results of images one by one.

    Args:
        reader: reader of the teacher.
        inputs: images, folders of images, videos, or sources.
        frame_stride: stride of the frames of a video.
        skipped: list to which names of unreadable inputs are appended.
    """
    load = TRANSFORMS.build(dict(type='LoadImageFromFile'))
    for source in list_sources(inputs):
        try:
            for frame, loaded in source.read(load, frame_stride):
                yield teacher_result(reader, loaded['img'].astype(np.uint8, copy=False), source.name, frame)
        except OSError as error:
            skipped.append(source.name)
            print_log(f'{error}; skipped, {len(skipped)} so far', 'current', logging.WARNING)
