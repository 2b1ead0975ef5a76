"""Where a teacher sees texts in images, folders and videos."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterator

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement

from lfi.adaptation.teacher import named_teacher
from lfi.apis import InteractionResult, list_sources
from lfi.apis.drawing import draw_result
from lfi.errors import UsageError
from lfi.pseudo_labels import TeacherReader
from lfi.registry import TRANSFORMS

from .result_files import write_results

# What presence is compared with, beside the other texts, where a teacher names no background of its own.
BACKGROUND = ['background']


def reader_of(args: Namespace) -> TeacherReader:
    """The teacher, as its locations are best read.

    Raises:
        UsageError: if it cannot be had.
    """
    teacher = named_teacher(args.teacher)
    # With a background of its own a teacher is best read by share (docs/teachers.md).
    reading = dict(positions_reading='share', presence='best-location') if 'background' in teacher else {}
    teacher.setdefault('background', BACKGROUND)
    for name in ('templates', 'input_size'):
        if getattr(args, name) is not None:
            teacher[name] = getattr(args, name)
    try:
        return TeacherReader(
            Config(dict(model=dict(teacher=teacher, reading=reading))), args.texts, args.device
        )
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f'--teacher {args.teacher}: {error}') from error


def result_of(
    reader: TeacherReader, image: np.ndarray, name: str = '', frame: int | None = None
) -> InteractionResult:
    """What a teacher says of an image, (H, W, 3) uint8 BGR; it predicts nothing."""
    (answer,) = reader([image])
    maps = answer.maps
    if reader.reading.positions_reading == 'scores':
        # Of any sign, and only their differences mean something.
        maps = maps - maps.amin((-2, -1), keepdim=True)
    maps = maps / maps.sum((-2, -1), keepdim=True).clamp_min(1e-12)
    texts, nothing = reader.concepts, BaseDataElement()
    return InteractionResult(name, frame, image, nothing, texts, answer.presence, maps, answer.view)


def answers(reader: TeacherReader, args: Namespace, skipped: list[str]) -> Iterator[InteractionResult]:
    """The results of the images, one by one; what cannot be read is named in `skipped`."""
    load = TRANSFORMS.build(dict(type='LoadImageFromFile'))
    for source in list_sources(args.inputs):
        try:
            for frame, loaded in source.read(load, args.frame_stride):
                yield result_of(reader, loaded['img'].astype(np.uint8, copy=False), source.name, frame)
        except OSError as error:
            skipped.append(source.name)
            print_log(f'{error}; skipped, {len(skipped)} so far', 'current', logging.WARNING)


def main(args: Namespace) -> None:
    """Run the tool."""
    skipped: list[str] = []
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        reader = reader_of(args)
        write_results(
            answers(reader, args, skipped),
            lambda result: draw_result(result, (), range(len(result.texts))),
            inputs=args.inputs,
            classes=(),
            skipped=skipped,
            frame_stride=args.frame_stride,
            out_dir=args.out_dir,
        )
