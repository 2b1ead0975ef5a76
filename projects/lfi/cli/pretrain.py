"""Pretrain a backbone on a folder of images without labels.

lfi pretrain FOLDER
lfi pretrain FOLDER --labelled LABELLED
lfi pretrain FOLDER --config lfi-pretrain_resnet50_clip-b16_folder

Runs lfi train on a config of configs/pretraining, with data_root=FOLDER. To start a model of OpenMMLab from
the checkpoint, set init_cfg=dict(type='Pretrained', checkpoint=FILE, prefix='backbone.') in its backbone.
"""

from __future__ import annotations

from argparse import Namespace

from lfi.errors import UsageError

from . import train
from .arguments import ArgumentParser, add_cfg_options, add_training_arguments, config_file

CONFIG = 'lfi-pretrain_vit-small-p16_clip-b16_folder'
PROBED = f'{CONFIG}-probed'


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
        'linear probe; needs a config with a labelled_root (default: no evaluation)',
    )
    add_cfg_options(parser)
    add_training_arguments(parser)


def run(args: Namespace) -> None:
    """Pretrain on the folder."""
    from lfi.engine.config_loading import load_config

    args.config = args.config or config_file(PROBED if args.labelled else CONFIG)
    if args.labelled and 'labelled_root' not in load_config(args.config):
        raise UsageError(
            f'--labelled {args.labelled}: {args.config} has no labelled_root. Let it inherit from {PROBED}, '
            'or leave out --labelled'
        )
    roots = dict(data_root=args.folder, labelled_root=args.labelled)
    options = {name: folder for name, folder in roots.items() if folder is not None}
    args.cfg_options = {**options, **(args.cfg_options or {})}
    train.run(args)
