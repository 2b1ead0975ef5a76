"""Write a config that inherits from yours and learns from interactions.

lfi adapt my_resnet50.py
lfi adapt mmdet::rtmdet_tiny_8xb32-300e_coco --teacher ViT-B-16-SigLIP2:webli --out configs/lfi_rtmdet.py
lfi adapt my_resnet50.py --unlabelled my_images

It reads a config of mmpretrain, mmdet or mmseg, says in words what it changes, builds the model that it has
written, and prints the commands that come next. Nothing is fetched, and nothing is trained.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lfi.config_files import teacher_names

from .arguments import ArgumentParser

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('config', help="your config: a file, or mmdet::NAME of a project's own")
    parser.add_argument(
        '--teacher',
        default='clip-b16',
        metavar='NAME',
        help=f'{", ".join(teacher_names())}, MODEL:TAG as lfi teachers lists them, or a folder (%(default)s)',
    )
    parser.add_argument('--out', metavar='FILE', help='the new config (lfi_<name of yours>.py, here)')
    parser.add_argument(
        '--concepts',
        metavar='FILE',
        help='names of the classes, one a line in the order of the labels (those of the data set)',
    )
    parser.add_argument(
        '--unlabelled',
        metavar='FOLDER',
        help='images without labels, which are seen beside the labelled ones',
    )


def run(args: Namespace) -> None:
    """Write the config, check it, and say what it changes; a config that fails is not left behind."""
    from mmengine.logging import MMLogger

    from lfi.adaptation import checked, overlay, read_user_config
    from lfi.errors import UsageError

    # Some of what is built says each parameter.
    MMLogger.get_current_instance().setLevel('ERROR')
    user = read_user_config(args.config)
    out = Path(args.out or f'lfi_{user.path.stem}.py')
    if out.suffix != '.py':
        raise UsageError(f'--out {out} must be a .py file')
    if out.exists():
        raise UsageError(f'--out {out} is there already: remove it, or name another file')
    new = overlay(user, out, args.teacher, args.concepts, args.unlabelled)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(new.text, encoding='utf-8')
    except OSError as error:
        raise UsageError(f'--out {out} cannot be written: {error}') from error
    try:
        found = checked(out, new.plain)
    except BaseException:
        out.unlink()
        raise
    print(f'{out} inherits from {args.config}, and changes')
    width = max(len(name) for name, _ in new.words)
    for name, words in new.words:
        print(f'  {name.ljust(width)}  {words}')
    print(
        f'It was built on the CPU. Each weight of your model has its place, and checkpoints load. '
        f'{found.plain / 1e6:.2f} M parameters, and {found.added / 1e6:.2f} M '
        f'({100 * found.added / found.plain:.1f} %) for interactions, which an export leaves out.'
    )
    print(f'Data: {found.data}.')
    for line in gone_checkpoints(found.cfg):
        print(line)
    print('Next:')
    for line in commands(out, found.cfg, new.cached):
        print(f'  {line}')


def gone_checkpoints(cfg: Config) -> list[str]:
    """A line for each checkpoint of a config that is on a host that is gone, and is not kept."""
    from lfi.engine.checkpoints.addresses import (
        download_path,
        gone_host_message,
        named_checkpoints,
        resolve_checkpoint,
    )
    from lfi.errors import UsageError

    lines = []
    for key, checkpoint in named_checkpoints(cfg):
        try:
            url = resolve_checkpoint(checkpoint)
        except UsageError as error:
            lines.append(f'{key}={checkpoint!r}: {error}.')
            continue
        gone = gone_host_message(url)
        if gone and not Path(download_path(url)).is_file():
            lines.append(f'{key}={checkpoint!r} cannot be fetched: {gone} in its place.')
    return lines


def commands(out: Path, cfg: dict, cached: bool) -> list[str]:
    """What to type next: with a cache where one can be read, train, and test where the config has a test."""
    work, train = cfg.get('work_dir') or f'work_dirs/{out.stem}', cfg.get('train_cfg') or {}
    steps = train.get('max_iters')
    last = f'iter_{steps}' if steps else f'epoch_{train.get("max_epochs", "N")}'
    lines = [['lfi', 'train', str(out)]]
    if cached:
        lines[0] += ['--cfg-options', f'model.teacher.cache={work}/maps']
        lines.insert(0, ['lfi', 'cache', str(out), '--out', f'{work}/maps'])
    if cfg.get('test_dataloader'):
        lines.append(['lfi', 'test', str(out), f'{work}/{last}.pth'])
    return [shlex.join(line) for line in lines]
