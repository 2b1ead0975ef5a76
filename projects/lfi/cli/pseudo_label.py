"""Label images that have no labels, by a teacher or by its student, or measure such labels.

lfi pseudo-label lfi_mask-rcnn_r50-fpn_1x_coco photos/ --out work_dirs/labels --pictures 12
lfi pseudo-label CONFIG photos/ --checkpoint FILE --texts dog 'red car' --out work_dirs/labels
lfi pseudo-label CONFIG --evaluate --sweep

Writes annotations.json of COCO's format, with boxes, masks and scores; labels.txt and classes.txt for
classification; and scores.csv. A run that was stopped goes on by the same command.

--evaluate labels the images of the config's validation set, as they are on disk, and compares with their
annotations. The table has the labels and controls beside them. --sweep prints what each threshold gives:
choose it on images that nothing is measured on, such as those of the training.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from lfi.errors import as_usage_error
from lfi.pseudo_labels import LabelRules

from .arguments import ArgumentParser, add_config_arguments, add_device, positive, whole

if TYPE_CHECKING:
    from mmengine.config import Config

    from lfi.apis import StudentReader, TeacherReader


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    parser.add_variants(
        '--evaluate',
        {False: add_labelling_arguments, True: add_evaluation_arguments},
        action='store_true',
        help='measure labels on images that have annotations, in place of labelling',
    )
    add_reader_arguments(parser)
    add_rule_arguments(parser)


def add_labelling_arguments(parser: ArgumentParser) -> None:
    """Add which images are labelled, and where the labels go."""
    parser.add_argument('images', nargs='+', help='images, and folders of images with their subfolders')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the labels')
    parser.add_argument(
        '--pictures',
        type=whole,
        default=0,
        metavar='N',
        help='draw N of the images in labels.png (%(default)s)',
    )


def add_evaluation_arguments(parser: ArgumentParser) -> None:
    """Add how many images are measured on, and whether thresholds are tried."""
    parser.add_argument(
        '--images', type=positive, metavar='N', help='only N images, evenly spaced (default: all)'
    )
    parser.add_argument('--sweep', action='store_true', help='print what other thresholds give, too')


def add_reader_arguments(parser: ArgumentParser) -> None:
    """Add who is asked about what."""
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help="ask the student of this checkpoint (default: the config's teacher)",
    )
    parser.add_argument('--texts', nargs='+', metavar='TEXT', help="other concepts than the config's")
    parser.add_argument('--batch-size', type=positive, default=16, help='images at once (%(default)s)')
    add_device(parser)


def add_rule_arguments(parser: ArgumentParser) -> None:
    """Add the fields of `LabelRules`."""
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
        default=LabelRules.min_area,
        metavar='SHARE',
        help='the least share of its image that an object covers (%(default)s)',
    )
    parser.add_argument(
        '--max-per-image',
        type=int,
        default=LabelRules.max_per_image,
        metavar='N',
        help='objects of an image at most (%(default)s)',
    )


def run(args: Namespace) -> None:
    """Label the images, or measure labels."""
    import matplotlib

    from lfi.engine.config_loading import load_config
    from lfi.pseudo_labels import measuring
    from lfi.pseudo_labels.labelled_folder import label_images

    matplotlib.use('Agg')
    cfg = load_config(args.config, args.cfg_options)
    reader = reader_of(args, cfg)
    rules = rules_of(args, reader)
    if args.evaluate:
        measuring.print_quality(cfg, reader, rules, args.batch_size, args.images, args.sweep)
    else:
        label_images(reader, rules, args.images, args.out, args.batch_size, args.pictures)


def reader_of(args: Namespace, cfg: Config) -> TeacherReader | StudentReader:
    """Build the teacher or the student that is asked.

    Raises:
        UsageError: if it cannot be built.
    """
    from mmengine.registry import init_default_scope

    from lfi.apis import StudentReader, TeacherReader
    from lfi.engine import run_options

    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with as_usage_error(ImportError, OSError, RuntimeError, TypeError, ValueError):
        if args.checkpoint is None:
            return TeacherReader(cfg, args.texts, args.device)
        run_options.require_checkpoint(args.checkpoint)
        return StudentReader(cfg, args.checkpoint, args.texts, args.device)


def rules_of(args: Namespace, reader: TeacherReader | StudentReader) -> LabelRules:
    """The rules, with the thresholds of the reader's kind where none are given.

    Raises:
        UsageError: if a value is out of range.
    """
    presence, mask = args.presence_threshold, args.mask_threshold
    with as_usage_error(ValueError):
        return LabelRules(
            presence_threshold=reader.presence_threshold if presence is None else presence,
            mask_threshold=reader.mask_threshold if mask is None else mask,
            min_area=args.min_area,
            max_per_image=args.max_per_image,
        )
