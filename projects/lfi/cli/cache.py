"""Cache the teacher's maps of all training images of a config.

lfi cache CONFIG --out DIR
lfi train CONFIG --cfg-options model.teacher.cache=DIR

Maps are of the unaugmented images; training warps them into each view. `--views K` adds the maps of the
mirrored image and of K - 2 views that the pipeline draws. Training draws these views again, and their maps
need no warp. For a baseline that learns the teacher's features, the cache holds features. A stopped run
continues with the same command. Several processes, on one machine or many, share the work:

tools/dist_cache_teacher.sh CONFIG 8 --out DIR

A cache of tar shards has a file for each shard, in a folder or a store. Its writers need not know each other:

lfi cache CONFIG --shards 's3://bucket/train-{0000..4095}.tar' --out s3://bucket/cache --rank 3 --world 64
lfi cache CONFIG --shards 's3://bucket/train-{0000..4095}.tar' --out s3://bucket/cache --ray auto
lfi cache CONFIG --shards 's3://bucket/train-{0000..4095}.tar' --out s3://bucket/cache --status
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace

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
    parser.add_argument(
        '--out', metavar='DIR', help='folder of the cache; for tar shards also an address, s3://bucket/cache'
    )
    parser.add_argument(
        '--shards',
        metavar='URLS',
        help='tar shards in place of those of the config: s3://bucket/train-{0000..4095}.tar',
    )
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
        'N images (those of the config; tar shards need an N)',
    )
    parser.add_argument(
        '--rank',
        type=whole,
        metavar='I',
        help='index of this process among --world that start by themselves, such as those of a job array',
    )
    parser.add_argument('--world', type=positive, metavar='N', help='number of such processes')
    parser.add_argument(
        '--ray',
        metavar='ADDRESS',
        help='write by a Ray cluster: its address, auto for the one of this machine, or local to start one',
    )
    parser.add_argument(
        '--status',
        action='store_true',
        help='write nothing: show progress and failures of all writers',
    )
    add_launcher_arguments(parser)
    parser.add_check(out_error)
    parser.add_check(rank_error)
    parser.add_substitutes(
        {
            **DEVICE_SUBSTITUTE,
            '--epochs': 'nothing: a cache holds each image once, for any number of epochs',
            '--lr': 'nothing: a teacher does not train',
        }
    )


def out_error(args: Namespace) -> str | None:
    """Return what is wrong with --out; None if nothing is."""
    if re.match(r'(?![a-z][a-z0-9+.-]*://)[A-Za-z][A-Za-z0-9+.-]+:/', args.out or ''):
        return f'--out {args.out} would be a folder on this machine: addresses begin as in s3://bucket'
    return None


def rank_error(args: Namespace) -> str | None:
    """Return what is wrong with --rank and --world; None if nothing is."""
    if (args.rank is None) != (args.world is None):
        return '--rank I and --world N belong together'
    if args.rank is not None and args.rank >= args.world:
        return f'--rank {args.rank} must be below --world {args.world}'
    if args.rank is not None and (args.ray or args.verify or args.cost is not None):
        return '--rank and --world are for writing, without --ray, --verify and --cost'
    if args.rank is not None and args.launcher != 'none':
        return f'--rank is for processes that start by themselves, and --launcher {args.launcher} starts them'
    return None


def run(args: Namespace) -> None:
    """Write the cache, verify it, show its progress, or measure its cost."""
    from mmengine import dist

    from lfi.apis import caching
    from lfi.apis.caching.progress import cache_progress
    from lfi.apis.caching.sidecar_writing import Share
    from lfi.datasets.tar_shards.web_dataset import expand_urls
    from lfi.engine.config_loading import load_config
    from lfi.engine.processes import init_process_group, set_up_distributed
    from lfi.engine.streams import is_stream
    from lfi.errors import UsageError
    from lfi.structures.interaction_cache import CacheFolder, InteractionCache
    from lfi.unreadable import UnreadableList

    if args.out is None and args.cost is None:
        raise UsageError('--out: name the folder of the cache')
    cfg = load_config(args.config, args.cfg_options)
    if (args.shards or args.status or args.ray or args.rank is not None) and not is_stream(cfg):
        raise UsageError('--shards, --rank, --ray and --status need tar shards: train_dataloader has none')
    if args.shards:
        cfg.train_dataloader.dataset.urls = args.shards
    if args.status:
        print(cache_progress(args.out, expand_urls(cfg.train_dataloader.dataset.urls)))
        return
    set_up_distributed(cfg, args.launcher, args.local_rank)
    init_process_group(cfg)
    if args.cost is not None:
        print(caching.cache_cost(cfg, args.batch_size, args.num_workers, args.views, args.cost or None))
        return
    if args.verify is not None:
        passed = caching.verify(cfg, args.out, args.batch_size, args.num_workers, args.verify)
        if passed:
            print_next(train_command(args))
        sys.exit(0 if passed else 1)
    options = (args.batch_size, args.num_workers, args.views)
    if args.ray:
        cache: CacheFolder = caching.cache_teacher_by_ray(cfg, args.out, args.ray, *options)
    else:
        share = None if args.rank is None else Share(args.rank, args.world)
        cache = caching.cache_teacher(cfg, args.out, *options, share)
    if dist.get_rank() == 0 and cache.manifest.has_sidecars:
        print(cache_progress(args.out, expand_urls(cfg.train_dataloader.dataset.urls)))
    elif dist.get_rank() == 0:
        assert isinstance(cache, InteractionCache)
        total, unread = cache.manifest.num_images, len(UnreadableList(args.out))
        count = f'{total - unread:,} of {total:,}' if unread else f'{total:,}'
        print(f'{args.out}: maps of {count} images, {cache.num_bytes / 1e6:.1f} MB.')
    print_next(train_command(args))


def train_command(args: Namespace) -> list[str]:
    """Return the command that trains from the cache."""
    shards = {'train_dataloader.dataset.urls': args.shards} if args.shards else {}
    options = {**(args.cfg_options or {}), **shards, 'model.teacher.cache': args.out}
    return ['lfi', 'train', args.config, *option_words(options)]
