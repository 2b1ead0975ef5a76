"""What the tools of labels share: from their arguments to who is asked, and by which rules."""

from __future__ import annotations

from argparse import Namespace

from mmengine.config import Config
from mmengine.registry import init_default_scope

from lfi.engine import run_options
from lfi.errors import UsageError, as_usage_error

from .label_rules import LabelRules
from .student_reader import StudentReader
from .teacher_reader import TeacherReader


def reader_of(args: Namespace, cfg: Config) -> TeacherReader | StudentReader:
    """Build who is asked.

    Raises:
        UsageError: If that cannot be done.
    """
    if args.batch_size < 1:
        raise UsageError(f'--batch-size {args.batch_size} must be at least 1')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with as_usage_error(ImportError, OSError, RuntimeError, TypeError, ValueError):
        if args.checkpoint is None:
            return TeacherReader(cfg, args.texts, args.device)
        run_options.require_checkpoint(args.checkpoint)
        return StudentReader(cfg, args.checkpoint, args.texts, args.device)


def rules_of(args: Namespace, reader: TeacherReader | StudentReader) -> LabelRules:
    """The rules, with the thresholds of the reader's kind where none are given.

    Raises:
        UsageError: If a value is out of range.
    """
    presence, mask = args.presence_threshold, args.mask_threshold
    with as_usage_error(ValueError):
        return LabelRules(
            presence_threshold=reader.presence_threshold if presence is None else presence,
            mask_threshold=reader.mask_threshold if mask is None else mask,
            min_area=args.min_area,
            max_per_image=args.max_per_image,
        )
