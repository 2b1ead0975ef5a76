"""Write a config that inherits from yours and learns from interactions.

lfi adapt my_resnet50.py
lfi adapt mmdet::rtmdet_tiny_8xb32-300e_coco --teacher ViT-B-16-SigLIP2:webli --out configs/lfi_rtmdet.py
lfi adapt my_resnet50.py --unlabelled my_images

Reads a config of mmpretrain, mmdet or mmseg, writes the new one, builds its model as a check, and prints the
changes and the next commands. Downloads nothing and trains nothing.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.utils.next_commands import print_next

from .arguments import ArgumentParser, add_teacher
from .first_steps import print_first_steps


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('config', help='your config: a file, or the config of a project as mmdet::NAME')
    add_teacher(parser)
    parser.add_argument('--out', metavar='FILE', help='new config (default: lfi_<name of your config>.py)')
    parser.add_argument(
        '--concepts',
        metavar='FILE',
        help='file with one class name a line, in the order of the labels (default: names of the data set)',
    )
    parser.add_argument('--unlabelled', metavar='FOLDER', help='images without labels to train on as well')


def run(args: Namespace) -> None:
    """Write the config, check it, and print its changes; a config that fails is removed."""
    from mmengine.logging import MMLogger

    from lfi.adaptation import build_overlay, check_config, read_user_config
    from lfi.errors import UsageError

    # Some optimizer wrappers log each parameter.
    MMLogger.get_current_instance().setLevel('ERROR')
    user = read_user_config(args.config)
    out = Path(args.out or f'lfi_{user.path.stem}.py')
    if out.suffix != '.py':
        raise UsageError(f'--out {out} must be a .py file')
    if out.exists():
        raise UsageError(f'--out {out} exists already: remove it, or name another file')
    overlay = build_overlay(user, out, args.teacher, args.concepts, args.unlabelled)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(overlay.text, encoding='utf-8')
    except OSError as error:
        raise UsageError(f'--out {out} cannot be written: {error}') from error
    try:
        report = check_config(out, overlay.task_model)
    except BaseException:
        out.unlink()
        raise
    print(f'{out} inherits from {args.config}, and changes')
    width = max(len(topic) for topic, _ in overlay.summary)
    for topic, description in overlay.summary:
        print(f'  {topic.ljust(width)}  {description}')
    print(
        'The model was built on the CPU. It has all weights of your model, so your checkpoints load. '
        f'{report.task_parameters / 1e6:.2f} M parameters, and {report.added_parameters / 1e6:.2f} M '
        f'({100 * report.added_parameters / report.task_parameters:.1f} %) for interactions, which an export '
        'leaves out.'
    )
    print(f'Data: {report.data}.')
    print_first_steps(report.cfg)
    if report.data_state == 'broken':
        print(f'Next: correct the data in {args.config}, from which {out} takes them.')
        return
    print_next(*next_commands(out, report.cfg, overlay.can_cache))


def next_commands(out: Path, cfg: dict, can_cache: bool) -> list[list[str]]:
    """Return the commands to type next: train, from a cache if possible, and test if there are test data."""
    commands = [['lfi', 'train', str(out)]]
    if can_cache:
        commands[0].append('--cache-teacher')
    if cfg.get('test_dataloader'):
        commands.append(['lfi', 'test', str(out), last_checkpoint(out, cfg)])
    return commands


def work_dir_of(out: Path, cfg: dict) -> str:
    """Return the folder into which the training of a config writes."""
    return cfg.get('work_dir') or f'work_dirs/{out.stem}'


def last_checkpoint(out: Path, cfg: dict) -> str:
    """Return the path of the last checkpoint of a config's training."""
    train_cfg = cfg.get('train_cfg') or {}
    iterations = train_cfg.get('max_iters')
    last = f'iter_{iterations}' if iterations else f'epoch_{train_cfg.get("max_epochs", "N")}'
    return f'{work_dir_of(out, cfg)}/{last}.pth'
