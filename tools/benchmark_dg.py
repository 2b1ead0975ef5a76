"""Domain generalisation: leave out each domain in turn, and compare methods with a baseline over seeds.

python tools/benchmark_dg.py configs/baselines/task-loss_vit-128x6-p8_pacs.py \\
    configs/domain_generalization/lfi_vit-128x6-p8_lit-lite0_pacs.py --cache-teacher

For each config, domain and seed it trains by tools/train.py on all domains but one, takes the epoch with the
best accuracy on held-out images of those domains, and tests it by tools/test.py on the domain left out. What
is finished is not run again, and what was stopped goes on. It writes results.md and results.json.

The other protocol needs no training here: a checkpoint that was trained elsewhere, and the classes named when
it is tested:

python tools/benchmark_dg.py --zero-shot \\
    configs/domain_generalization/zero-shot_vit-tiny-p8_lit-lite0_tiny-imagenet_pacs.py CHECKPOINT
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import lfi  # noqa: F401
from lfi.engine import launch
from lfi.errors import UsageError
from lfi.models.distill import InteractionDistillMixin
from lfi.registry import MODELS
from lfi.studies.job import read_config
from lfi.studies.presets import Preset, domain_arm, leave_one_out
from lfi.studies.reproduce import Request, reproduce
from lfi.studies.zero_shot import zero_shot_metrics, zero_shot_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='the baseline, and the methods')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='(default: 0 1 2)')
    parser.add_argument('--domains', nargs='+', help='those to leave out (default: each one that is there)')
    parser.add_argument('--epochs', type=int, help="fit the schedule to so many (default: the configs' own)")
    parser.add_argument(
        '--cache-teacher', action='store_true', help='ask the teacher once about each unaugmented image'
    )
    parser.add_argument(
        '--zero-shot',
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='test a checkpoint by a config of an lfi.LFIZeroShotClassifier; may be given several times',
    )
    parser.add_argument('--jobs', type=int, default=1, help='cells at a time (default: %(default)s)')
    parser.add_argument('--work-dir', default='work_dirs/benchmark_dg', help='(default: %(default)s)')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change all CONFIGs alike'
    )
    args = parser.parse_args()
    if not args.configs and not args.zero_shot:
        parser.error('name a baseline and a method, or use --zero-shot')
    if len({Path(config).stem for config in args.configs}) < len(args.configs):
        parser.error('the CONFIGs must differ in their names')
    if args.jobs < 1:
        parser.error(f'--jobs {args.jobs}: give 1 or more')
    if args.epochs is not None and args.epochs < 2:
        parser.error(f'--epochs {args.epochs}: the schedule has a warm-up, give 2 or more')
    return args


def study_of(args: argparse.Namespace) -> Preset:
    """The study of the given configs.

    Raises:
        UsageError: if they train for different numbers of epochs.
    """
    arms, epochs = [], {}
    for path in map(str, map(Path.resolve, map(Path, args.configs))):
        cfg = read_config(path)
        # What learns from interactions; other ways to distil ask the teacher about each view.
        cached = args.cache_teacher and issubclass(MODELS.get(cfg.model.type), InteractionDistillMixin)
        arms.append(replace(domain_arm(path, cache='cache' if cached else None), epochs=args.epochs))
        epochs[arms[-1].name] = args.epochs or cfg.train_cfg.max_epochs
    if len(set(epochs.values())) > 1:
        lengths = ', '.join(f'{name} {number}' for name, number in epochs.items())
        raise UsageError(f'the CONFIGs differ in their epochs ({lengths}): give them --epochs')
    return leave_one_out('', tuple(arms), seeds=tuple(args.seeds))


def main() -> None:
    args = parse_args()
    work_dir = Path(args.work_dir).resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    report = []
    if args.configs:
        request = Request(work_dir, domains=args.domains, jobs=args.jobs, cfg_options=args.cfg_options)
        report.append(reproduce('benchmark_dg', study_of(args), request))
    if args.zero_shot:
        found = []
        for i, (config, checkpoint) in enumerate(args.zero_shot):
            print(f'{config} with {checkpoint}', flush=True)
            found.append(zero_shot_metrics(config, checkpoint, work_dir / f'zero-shot-{i}'))
        report.append(zero_shot_table(found))
        (work_dir / 'zero-shot.json').write_text(json.dumps(found, indent=1))
    text = '\n\n'.join(report)
    print(f'\n{text}\n\nTables and numbers: {work_dir}/*')
    (work_dir / 'results.md').write_text(f'{text}\n')


if __name__ == '__main__':
    launch.run(main)
