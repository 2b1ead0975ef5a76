"""Ask a teacher where it sees texts in images, folders and videos.

lfi ask photo.jpg --texts dog grass
lfi ask photos/ --texts dog grass --teacher ViT-B-16-SigLIP2:webli --out-dir seen

Needs no training. Writes a picture of the maps for each image or video frame, and predictions.json. The
teacher's weights are downloaded on first use.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.utils.next_commands import PHOTOS, print_next

from .arguments import ArgumentParser, add_device, add_image_arguments, add_templates


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_image_arguments(parser)
    parser.add_argument('--texts', nargs='+', required=True, metavar='TEXT', help='texts to ask for')
    parser.add_argument(
        '--teacher',
        default='clip-b16',
        metavar='NAME',
        help="teacher in LFI's configs, such as lit-lite0; MODEL:TAG as in lfi teachers; or a folder with "
        'an open_clip model (%(default)s)',
    )
    add_templates(parser)
    parser.add_argument(
        '--input-size',
        type=int,
        metavar='PX',
        help="side that images are resized to; larger is finer and slower (default: the teacher's own)",
    )
    parser.add_argument(
        '--out-dir',
        default='work_dirs/asked',
        metavar='DIR',
        help='folder for pictures and predictions (%(default)s)',
    )
    add_device(parser)


def run(args: Namespace) -> None:
    """Write pictures and records of the teacher's maps and presence."""
    from mmengine.registry import DefaultScope

    from lfi.apis.drawing import draw_result
    from lfi.apis.result_files import write_results
    from lfi.apis.teacher_answers import build_reader, teacher_results

    skipped: list[str] = []
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        reader = build_reader(args.teacher, args.texts, args.templates, args.input_size, args.device)
        write_results(
            teacher_results(reader, args.inputs, args.frame_stride, skipped),
            lambda result: draw_result(result, (), range(len(result.texts))),
            inputs=args.inputs,
            classes=(),
            skipped=skipped,
            frame_stride=args.frame_stride,
            out_dir=args.out_dir,
        )
    folder = next((path for path in args.inputs if Path(path).is_dir()), PHOTOS)
    print_next(['lfi', 'init', folder, '--teacher', args.teacher])
