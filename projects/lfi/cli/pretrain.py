"""Pretrain a backbone on a folder of images without labels.

lfi pretrain FOLDER
lfi pretrain FOLDER --backbone convnext-tiny --teacher ViT-B-16-SigLIP2:webli --epochs 50
lfi pretrain FOLDER --labelled LABELLED
lfi pretrain FOLDER --config lfi-pretrain_resnet50_clip-b16_folder

Runs lfi train on a config of configs/pretraining, with data_root=FOLDER; or on a config that it writes into
the work dir, if an option names the backbone, the teacher, the concepts, the epochs or the batch size. To
start a model of OpenMMLab from the checkpoint, set
init_cfg=dict(type='Pretrained', checkpoint=FILE, prefix='backbone.') in its backbone.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.next_commands import print_next

from . import train
from .arguments import (
    WORK_DIR,
    ArgumentParser,
    add_cfg_options,
    add_teacher,
    add_training_arguments,
    config_file,
    positive,
)

CONFIG = 'lfi-pretrain_vit-small-p16_clip-b16_folder'
PROBED = f'{CONFIG}-probed'
BACKBONE = 'deit-small'
WRITTEN_OPTIONS = ('backbone', 'teacher', 'concepts', 'epochs', 'batch_size')
"""Options for which a config is written."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('folder', help='folder of images, in any layout')
    parser.add_argument(
        '--config',
        type=config_file,
        metavar='CONFIG',
        help=f"config file, or the name of one of LFI's (default: {CONFIG}, a ViT-Small taught by CLIP)",
    )
    parser.add_argument(
        '--labelled',
        metavar='FOLDER',
        help='folder with one subfolder a class, to evaluate the backbone every ten epochs by k-NN and a '
        'linear probe; a --config needs a labelled_root for it (default: no evaluation)',
    )
    parser.add_argument(
        '--backbone',
        metavar='NAME',
        help="model of mmpretrain or timm, such as resnet50 (default: the config's)",
    )
    add_teacher(parser, default=None)
    parser.add_argument(
        '--concepts', metavar='FILE', help='texts to ask about, one a line (default: the names of ImageNet)'
    )
    parser.add_argument(
        '--epochs', type=positive, metavar='N', help="number of epochs (default: the config's)"
    )
    parser.add_argument(
        '--batch-size', type=positive, metavar='N', help="images of a step (default: the config's)"
    )
    add_cfg_options(parser)
    add_training_arguments(
        parser, f'{WORK_DIR}, or work_dirs/pretrain_<folder> with an option such as --concepts'
    )
    train.add_cache_teacher(parser)
    parser.add_substitutes({'--model': '--backbone NAME'})


def run(args: Namespace) -> None:
    """Pretrain on the folder, and print what starts a training from the weights."""
    from lfi.engine.config_loading import load_config
    from lfi.new_config.settings import check_labelled

    if any(getattr(args, name) is not None for name in WRITTEN_OPTIONS):
        args.config = _write_config(args)
        _train(args, args.backbone or BACKBONE)
        return
    model = BACKBONE if args.config is None else 'MODEL'
    args.config = args.config or config_file(PROBED if args.labelled else CONFIG)
    if args.labelled and 'labelled_root' not in load_config(args.config):
        raise UsageError(
            f'--labelled {args.labelled}: {args.config} has no labelled_root. Let it inherit from {PROBED}, '
            'or leave out --labelled'
        )
    if args.labelled:
        check_labelled(args.labelled)
    roots = dict(data_root=args.folder, labelled_root=args.labelled)
    options = {name: folder for name, folder in roots.items() if folder is not None}
    args.cfg_options = {**options, **(args.cfg_options or {})}
    _train(args, model)


def _train(args: Namespace, model: str) -> None:
    cfg = train.train(args)
    checkpoint = train.trained_checkpoint(cfg)
    if checkpoint is None:
        return
    teacher = [] if args.teacher is None else ['--teacher', args.teacher]
    data = ['lfi', 'init', args.labelled or 'LABELLED', *teacher]
    start = [*data, '--model', model, '--weights', checkpoint]
    print_next(start, *train.commands_for_trained(cfg, checkpoint))


def _write_config(args: Namespace) -> str:
    """Write the config of a pretraining into the work dir, and return its path."""
    from lfi.new_config import Settings, init_pretraining_config

    given = next(name for name in WRITTEN_OPTIONS if getattr(args, name) is not None).replace('_', '-')
    if args.config is not None:
        raise UsageError(f'--config {args.config} is a config, and --{given} writes one: give one of both')
    args.work_dir = args.work_dir or f'work_dirs/pretrain_{Path(args.folder).resolve().name}'
    file = Path(args.work_dir) / 'config' / 'lfi_pretrain.py'
    if args.launcher != 'none':
        raise UsageError(
            f'--{given} writes a config, which several processes cannot share: start one process, which '
            f'writes {file}, and train that by tools/dist_train.sh'
        )
    # A resumed training writes the same config again.
    file.unlink(missing_ok=True)
    settings = Settings(epochs=args.epochs, batch_size=args.batch_size, labelled=args.labelled)
    backbone = args.backbone or BACKBONE
    teacher = args.teacher or 'clip-b16'
    try:
        init_pretraining_config(args.folder, backbone, teacher, args.concepts, settings, file)
    except UsageError as error:
        raise UsageError(str(error).replace('--model ', '--backbone ')) from error
    return str(file)
