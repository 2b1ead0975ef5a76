"""Label images with a teacher or its student, or evaluate such labels.

lfi pseudo-label lfi_mask-rcnn_r50-fpn_1x_coco photos/ --out work_dirs/labels --pictures 12
lfi pseudo-label CONFIG photos/ --checkpoint FILE --texts dog 'red car' --out work_dirs/labels
lfi pseudo-label CONFIG --evaluate --sweep
torchrun --nproc-per-node 8 -m lfi pseudo-label CONFIG photos/ --out work_dirs/labels --launcher pytorch

Writes annotations.json in COCO's format, with boxes, masks and scores; labels.txt and classes.txt for
classification; and scores.csv; with --formats also YOLO, Pascal VOC, Label Studio and CVAT. A stopped run
continues with the same command.

--evaluate labels the unaugmented images of the config's validation set, and compares labels and controls with
their annotations. --sweep prints the results at other thresholds. Choose a threshold on images that are not
used for evaluation, such as training images.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from lfi.errors import as_usage_error
from lfi.pseudo_labels import LabelRules
from lfi.pseudo_labels.label_formats import FORMATS
from lfi.utils.next_commands import PHOTOS, option_words, print_next

from .arguments import (
    ArgumentParser,
    add_config_arguments,
    add_device,
    add_launcher_arguments,
    positive,
    whole,
)

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
        help='evaluate labels on images with annotations',
    )
    add_reader_arguments(parser)
    add_rule_arguments(parser)


def add_labelling_arguments(parser: ArgumentParser) -> None:
    """Add the images to label, and the output folder."""
    parser.add_argument('images', nargs='+', help='images, and folders of images with their subfolders')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the labels')
    parser.add_argument(
        '--pictures',
        type=whole,
        default=0,
        metavar='N',
        help='images to draw in labels.png (%(default)s)',
    )
    parser.add_argument(
        '--formats',
        nargs='+',
        default=(),
        choices=tuple(FORMATS),
        metavar='FORMAT',
        help=f'also write {", ".join(FORMATS)}; the last two are for correcting labels by hand',
    )
    add_launcher_arguments(parser)


def add_evaluation_arguments(parser: ArgumentParser) -> None:
    """Add the number of images, and the sweep of thresholds."""
    parser.add_argument(
        '--images', type=positive, metavar='N', help='use N images, evenly spaced (default: all)'
    )
    parser.add_argument('--sweep', action='store_true', help='also print the results at other thresholds')


def add_reader_arguments(parser: ArgumentParser) -> None:
    """Add the student or teacher that labels, and its concepts."""
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help="label with the student of this checkpoint (default: the config's teacher)",
    )
    parser.add_argument('--texts', nargs='+', metavar='TEXT', help="concepts (default: the config's)")
    parser.add_argument('--batch-size', type=positive, default=16, help='images in a batch (%(default)s)')
    add_device(parser)


def add_rule_arguments(parser: ArgumentParser) -> None:
    """Add the fields of `LabelRules`."""
    parser.add_argument(
        '--presence-threshold',
        type=float,
        metavar='P',
        help='least presence of a labelled concept (default: by kind of presence; the run prints it)',
    )
    parser.add_argument(
        '--mask-threshold',
        type=float,
        metavar='T',
        help='least value inside a mask, of a map scaled to [0, 1] (default: 0.3, for a student 0.2)',
    )
    parser.add_argument(
        '--min-area',
        type=float,
        default=LabelRules.min_area,
        metavar='SHARE',
        help='least share of the image that an object covers (%(default)s)',
    )
    parser.add_argument(
        '--max-per-image',
        type=int,
        default=LabelRules.max_per_image,
        metavar='N',
        help='most objects in an image (%(default)s)',
    )
    parser.add_argument(
        '--min-score',
        type=float,
        metavar='S',
        help='least score of a written object (default: by kind of presence); for another value the same '
        'folder is written anew in seconds',
    )


def run(args: Namespace) -> None:
    """Label images, or evaluate labels."""
    import matplotlib

    from lfi.engine.config_loading import load_config
    from lfi.engine.processes import init_process_group, set_up_distributed
    from lfi.pseudo_labels import measuring
    from lfi.pseudo_labels.labelled_folder import label_images

    matplotlib.use('Agg')
    cfg = load_config(args.config, args.cfg_options)
    if not args.evaluate:
        set_up_distributed(cfg, args.launcher, args.local_rank)
        init_process_group(cfg)
    reader = build_reader(args, cfg)
    rules = build_rules(args, reader)
    if args.evaluate:
        measuring.print_quality(cfg, reader, rules, args.batch_size, args.images, args.sweep)
    else:
        label_images(
            reader,
            rules,
            args.images,
            args.out,
            args.batch_size,
            args.pictures,
            args.formats,
        )
    # The validation set of the config has other classes than own texts.
    if args.evaluate or (cfg.get('val_dataloader') and not args.texts):
        print_next(next_command(args))


def next_command(args: Namespace) -> list[str]:
    """Return the command that evaluates the labels after they were written, or that writes them."""
    what = [PHOTOS, '--out', 'work_dirs/labels'] if args.evaluate else ['--evaluate', '--sweep']
    settings = dict(
        presence_threshold=args.presence_threshold,
        mask_threshold=args.mask_threshold,
        min_score=args.min_score,
        min_area=None if args.min_area == LabelRules.min_area else args.min_area,
        max_per_image=None if args.max_per_image == LabelRules.max_per_image else args.max_per_image,
        checkpoint=args.checkpoint,
    )
    given = [
        word
        for name, value in settings.items()
        if value is not None
        for word in (f'--{name.replace("_", "-")}', str(value))
    ]
    texts = ['--texts', *args.texts] if args.texts else []
    return ['lfi', 'pseudo-label', args.config, *what, *given, *texts, *option_words(args.cfg_options)]


def build_reader(args: Namespace, cfg: Config) -> TeacherReader | StudentReader:
    """Build the reader of the teacher or of the student.

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


def build_rules(args: Namespace, reader: TeacherReader | StudentReader) -> LabelRules:
    """Build the rules; thresholds default to the reader's.

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
            min_score=reader.min_score if args.min_score is None else args.min_score,
        )
