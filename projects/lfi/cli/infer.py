"""Run a trained model on images, folders and videos: predictions and maps of texts.

lfi infer CONFIG CHECKPOINT photos/ cat.jpg --texts 'red circle' star --out-dir work_dirs/seen
lfi infer CONFIG CHECKPOINT clip.mp4 --frame-stride 5 --texts dog --out-dir work_dirs/seen --with-teacher

Writes a picture for each image or video frame, predictions.json, and a video of the pictures of each video.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lfi.utils.next_commands import export_commands, print_next

from .arguments import (
    ArgumentParser,
    add_checkpoint,
    add_config_arguments,
    add_device,
    add_image_arguments,
    add_templates,
    positive,
)

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config

    from lfi.apis import InteractionResult
    from lfi.apis.readers import TeacherReader


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    add_checkpoint(parser)
    add_image_arguments(parser)
    parser.add_argument(
        '--texts',
        nargs='+',
        metavar='TEXT',
        help='texts to ask for (default: classes of the training; pictures show the 5 strongest)',
    )
    parser.add_argument(
        '--with-teacher', action='store_true', help="also ask the config's teacher, and draw its maps below"
    )
    add_templates(parser)
    parser.add_argument('--out-dir', required=True, metavar='DIR', help='folder for pictures and predictions')
    parser.add_argument('--batch-size', type=positive, default=8, help='images in a batch (%(default)s)')
    add_device(parser)


def build_teacher_reader(cfg: Config, texts: Sequence[str], args: Namespace) -> TeacherReader:
    """Build the reader of the config's teacher, for the texts and prompts of the student.

    Raises:
        UsageError: if there are no texts, or the config has no teacher.
    """
    from mmengine.config import Config

    from lfi.apis.readers import TeacherReader
    from lfi.errors import UsageError

    if not cfg.model.get('teacher'):
        raise UsageError('--with-teacher: there is no model.teacher in the config')
    if not texts:
        raise UsageError('--with-teacher: there is no text to ask about: give --texts')
    if args.templates is not None:
        teacher = {**cfg.model.teacher, 'templates': args.templates}
        cfg = Config(dict(model=dict(cfg.model, teacher=teacher)))
    return TeacherReader(cfg, texts, args.device)


def run(args: Namespace) -> None:
    """Write pictures and predictions."""
    from lfi.apis import InteractionInferencer
    from lfi.apis.drawing import strongest_texts
    from lfi.apis.result_files import write_results
    from lfi.apis.teacher_answers import draw_with_teacher
    from lfi.engine import run_options
    from lfi.engine.config_loading import load_config
    from lfi.errors import as_usage_error

    run_options.require_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    with as_usage_error(ImportError, OSError, RuntimeError, ValueError):
        inferencer = InteractionInferencer(cfg, args.checkpoint, args.device, args.templates)
        results = inferencer.stream(args.inputs, args.texts, args.batch_size, args.frame_stride)
        texts = args.texts or inferencer.default_texts
        reader = build_teacher_reader(cfg, texts, args) if args.with_teacher else None

    def draw(result: InteractionResult) -> np.ndarray:
        if reader is None:
            return inferencer.visualize(args.inputs, [result], args.texts)[0]
        drawn = range(len(result.texts)) if args.texts else strongest_texts(result)
        return draw_with_teacher(result, inferencer.classes, drawn, reader)

    write_results(
        results,
        draw,
        inputs=args.inputs,
        classes=inferencer.classes,
        skipped=inferencer.skipped,
        frame_stride=args.frame_stride,
        out_dir=args.out_dir,
    )
    new = [text for text in args.texts or () if text not in inferencer.trained_texts]
    if new and inferencer.trained_texts:
        print(f'Not in the training, so their presence is less certain: {" | ".join(new)}')
    print_next(*export_commands(args.config, args.checkpoint, args.cfg_options))
