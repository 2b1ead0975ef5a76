"""Cache the teacher's maps of all training images of a config.

lfi cache CONFIG --out DIR
lfi train CONFIG --cfg-options model.teacher.cache=DIR

Maps are of the unaugmented images; training warps them into each view. `--views K` adds the maps of the
mirrored image and of K - 2 views that the pipeline draws. Training draws these views again, and their maps
need no warp. For a baseline that learns the teacher's features, the cache holds features. A stopped run
continues with the same command. Several processes, on one machine or many, share the work:

tools/dist_cache_teacher.sh CONFIG 8 --out DIR
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from lfi.utils.next_commands import option_words, print_next

from .arguments import (
    DEVICE_SUBSTITUTE,
    ArgumentParser,
    add_config_arguments,
    add_launcher_arguments,
    positive,
    whole,
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_arguments(parser)
    parser.add_argument('--out', metavar='DIR', help='folder of the cache')
    parser.add_argument(
        '--views',
        type=positive,
        default=1,
        metavar='K',
        help='views of each image: the complete image, the mirrored one, and draws of the pipeline, which '
        'training draws again (%(default)s)',
    )
    parser.add_argument('--batch-size', type=positive, default=64, help='images in a batch (%(default)s)')
    parser.add_argument(
        '--num-workers', type=whole, default=2, help='processes that load images (%(default)s)'
    )
    parser.add_argument(
        '--verify',
        nargs='?',
        type=positive,
        const=256,
        metavar='N',
        help='verify a finished cache: checksums, and maps of N images against the teacher (%(const)s)',
    )
    parser.add_argument(
        '--cost',
        nargs='?',
        type=positive,
        const=0,
        metavar='N',
        help="write nothing: measure for ten seconds, and print the cache's size and the teacher's time for "
        'N images (those of the config)',
    )
    add_launcher_arguments(parser)
    parser.add_substitutes(
        {
            **DEVICE_SUBSTITUTE,
            '--epochs': 'nothing: a cache holds each image once, for any number of epochs',
            '--lr': 'nothing: a teacher does not train',
        }
    )


def run(args: Namespace) -> None:
    """Write the cache, verify it, or measure its cost."""
    from mmengine import dist

    from lfi.apis import caching
    from lfi.engine.config_loading import load_config
    from lfi.engine.processes import init_process_group, set_up_distributed
    from lfi.errors import UsageError
    from lfi.unreadable import UnreadableList

    if args.out is None and args.cost is None:
        raise UsageError('--out: name the folder of the cache')
    cfg = load_config(args.config, args.cfg_options)
    set_up_distributed(cfg, args.launcher, args.local_rank)
    init_process_group(cfg)
    if args.cost is not None:
        print(caching.cache_cost(cfg, args.batch_size, args.num_workers, args.views, args.cost or None))
        return
    if args.verify is not None:
        passed = caching.verify(cfg, Path(args.out), args.batch_size, args.num_workers, args.verify)
        if passed:
            print_next(train_command(args))
        sys.exit(0 if passed else 1)
    cache = caching.cache_teacher(cfg, args.out, args.batch_size, args.num_workers, args.views)
    if dist.get_rank() == 0 and cache.manifest.has_sidecars:
        print(f'{args.out}: sidecars of {len(cache.files) - 2:,} tar shards, {cache.num_bytes / 1e6:.1f} MB.')
    elif dist.get_rank() == 0:
        total, unread = cache.manifest.num_images, len(UnreadableList(args.out))
        count = f'{total - unread:,} of {total:,}' if unread else f'{total:,}'
        print(f'{args.out}: maps of {count} images, {cache.num_bytes / 1e6:.1f} MB.')
    print_next(train_command(args))


def train_command(args: Namespace) -> list[str]:
    """Return the command that trains from the cache."""
    options = {**(args.cfg_options or {}), 'model.teacher.cache': args.out}
    return ['lfi', 'train', args.config, *option_words(options)]
