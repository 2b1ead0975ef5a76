"""Write a config that trains a student on your data.

lfi init my_photos --teacher clip-b16
lfi init my_photos --model resnet50 --unlabelled more_photos --out my.py
lfi init data.yaml --model rtmdet_tiny

DATA is a folder of images (one subfolder for each class, or no labels), a CSV or TSV of paths and labels, a
data set of YOLO, Pascal VOC or COCO JSON, images with PNG masks, or a data set of Hugging Face on disk. Finds
the classes, splits off a validation if there is none, builds the model as a check, and prints the next
commands. Trains nothing.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from lfi.utils.next_commands import TEXTS, infer_command, print_next

from .adapt import last_checkpoint, next_commands
from .arguments import ArgumentParser, add_teacher
from .first_steps import print_first_steps

if TYPE_CHECKING:
    from lfi.new_config import NewConfig


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('data', metavar='DATA', help='folder or file of the data set')
    parser.add_argument(
        '--model',
        metavar='NAME',
        help='model of mmpretrain, timm, mmdet or mmseg, such as resnet50, convnext-tiny or rtmdet_tiny '
        '(default: a small model for the task)',
    )
    add_teacher(parser)
    parser.add_argument('--out', metavar='FILE', help='new config (default: lfi_<name of the data>.py)')
    parser.add_argument(
        '--labels-per-class',
        type=int,
        metavar='N',
        help='hide all labels but N of each class (default: none)',
    )
    parser.add_argument('--unlabelled', metavar='FOLDER', help='images without labels to train on as well')
    parser.add_argument(
        '--concepts',
        metavar='FILE',
        help='texts, one a line: names of the classes in their order, or what images without labels may show '
        '(default: the names of the data set, or of ImageNet)',
    )
    parser.add_argument(
        '--weights',
        metavar='FILE',
        help="initial weights of the backbone: a checkpoint, timm, or none (default: those of the model's "
        'own config)',
    )
    parser.add_argument(
        '--epochs', type=int, metavar='N', help="epochs (default: by the data, or the model's)"
    )
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help="images of a step (default: by the data, or the model's)"
    )
    parser.add_argument(
        '--input-size',
        type=int,
        metavar='N',
        help="side of the images in pixels (default: by the data; that of the model's config for detectors "
        'and segmentors)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=2,
        metavar='N',
        help='processes that load images (default: %(default)s)',
    )


def run(args: Namespace) -> None:
    """Read the data, write the config, and print what was found and what to type next."""
    from lfi.new_config import Settings, init_config

    names = ('epochs', 'batch_size', 'input_size', 'labels_per_class', 'unlabelled', 'weights', 'workers')
    settings = Settings(**{name: getattr(args, name) for name in names})
    new = init_config(args.data, args.model, args.teacher, args.concepts, settings, args.out)
    print(new)
    commands = next_commands(new.path, new.written.report.cfg, new.written.cached)
    if new.data.task == 'pretraining':
        # There are no labels to test on.
        commands[-1] = asking_command(new)
    print_first_steps(new.written.report.cfg)
    print_next(*commands)


def asking_command(new: NewConfig) -> list[str]:
    """Return the command that shows where a pretrained model sees texts."""
    checkpoint = last_checkpoint(new.path, new.written.report.cfg)
    return infer_command(str(new.path), checkpoint, str(new.data.root), TEXTS)
