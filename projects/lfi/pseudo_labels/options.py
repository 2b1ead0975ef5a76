"""What the tools of labels share: from a command line to who is asked, and by which rules."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import fields

from mmengine.config import Config
from mmengine.registry import init_default_scope

from lfi.engine import launch

from .labelling import LabelRules
from .student_reader import StudentReader
from .teacher_reader import TeacherReader


def add_reader_arguments(parser: ArgumentParser) -> None:
    """Add who is asked about what."""
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help="ask the student of this checkpoint (default: the config's teacher)",
    )
    parser.add_argument('--texts', nargs='+', metavar='TEXT', help="other concepts than the config's")
    parser.add_argument('--batch-size', type=int, default=16, help='images at once (%(default)s)')
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU if there is one)')


def add_rule_arguments(parser: ArgumentParser) -> None:
    """Add the fields of `LabelRules`."""
    defaults = {field.name: field.default for field in fields(LabelRules)}
    parser.add_argument(
        '--presence-threshold',
        type=float,
        metavar='P',
        help='the least presence of a concept that is labelled (default: by the kind of presence, printed)',
    )
    parser.add_argument(
        '--mask-threshold',
        type=float,
        metavar='T',
        help='the least value inside a mask, of a map brought to [0, 1] (default: 0.3, of a student 0.2)',
    )
    parser.add_argument(
        '--min-area',
        type=float,
        default=defaults['min_area'],
        metavar='SHARE',
        help='the least share of its image that an object covers (%(default)s)',
    )
    parser.add_argument(
        '--max-per-image',
        type=int,
        default=defaults['max_per_image'],
        metavar='N',
        help='objects of an image at most (%(default)s)',
    )


def reader_of(args: Namespace, cfg: Config) -> TeacherReader | StudentReader:
    """Build who is asked.

    Raises:
        UsageError: If that cannot be done.
    """
    if args.batch_size < 1:
        raise launch.UsageError(f'--batch-size {args.batch_size} must be at least 1')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    try:
        if args.checkpoint is None:
            return TeacherReader(cfg, args.texts, args.device)
        launch.require_checkpoint(args.checkpoint)
        return StudentReader(cfg, args.checkpoint, args.texts, args.device)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise launch.UsageError(str(error)) from error


def rules_of(args: Namespace, reader: TeacherReader | StudentReader) -> LabelRules:
    """The rules, with the thresholds of the reader's kind where none are given.

    Raises:
        UsageError: If a value is out of range.
    """
    presence, mask = args.presence_threshold, args.mask_threshold
    try:
        return LabelRules(
            presence_threshold=reader.presence_threshold if presence is None else presence,
            mask_threshold=reader.mask_threshold if mask is None else mask,
            min_area=args.min_area,
            max_per_image=args.max_per_image,
        )
    except ValueError as error:
        raise launch.UsageError(str(error)) from error
