"""Domain generalisation: leave out each domain in turn, and compare methods with a control over seeds.

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
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lfi  # noqa: F401
import numpy as np
from lfi.engine import launch
from lfi.studies import Run, mean_and_spread, paired_difference, read_run, same_schedule_table
from lfi.studies.job_pool import run_jobs, threads_for
from lfi.studies.run_mark import RunMark
from lfi.studies.schedule import fitted_schedule
from lfi.studies.settings_digest import settings_digest
from lfi.studies.stopwatch import seconds_of, stopwatch
from lfi.studies.tool_output import follow_training, tool_output
from rich.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
DOMAIN_VARIABLE = 'LFI_TARGET_DOMAIN'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='the control, and the methods')
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
        parser.error('name a control and a method, or use --zero-shot')
    if len({Path(config).stem for config in args.configs}) < len(args.configs):
        parser.error('the CONFIGs must differ in their names')
    if args.jobs < 1:
        parser.error(f'--jobs {args.jobs}: give 1 or more')
    if args.epochs is not None and args.epochs < 2:
        parser.error(f'--epochs {args.epochs}: the schedule has a warm-up, give 2 or more')
    return args


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: as the table calls it.
        config: its path.
        options: `--cfg-options` of it.
        epochs: of its schedule.
        cached: whether it learns from a cache of the teacher's maps.
        identity: a digest of its settings.
    """

    name: str
    config: str
    options: tuple[str, ...]
    epochs: int
    cached: bool
    identity: str


@dataclass(frozen=True)
class Cell:
    """One arm, with one domain left out and one seed, and the folder of its run."""

    arm: Arm
    domain: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f'{self.arm.name}, {self.domain} left out, seed {self.seed}'

    @property
    def mark(self) -> RunMark:
        """What the cell leaves."""
        return RunMark(self.folder / 'cell.json', self.arm.identity)

    def result(self) -> dict | None:
        """Its result, or None while it is not finished.

        Raises:
            UsageError: if it was started with another config.
        """
        content = self.mark.read()
        return content if 'accuracy' in content else None

    def run(self, threads: str, progress: Progress) -> str:
        """Train, choose the epoch, test; what it found, in words."""
        about = dict(arm=self.arm.name, domain=self.domain, seed=self.seed)
        self.mark.write(**about)
        env = {'OMP_NUM_THREADS': threads, **os.environ, DOMAIN_VARIABLE: self.domain}
        options = [
            '--cfg-options',
            f'randomness.seed={self.seed}',
            # DomainBed's trials differ in their split too.
            f'train_dataloader.dataset.seed={self.seed}',
            f'val_dataloader.dataset.seed={self.seed}',
            'default_hooks.checkpoint.max_keep_ckpts=1',
            *self.arm.options,
        ]
        task = progress.add_task(self.name, total=self.arm.epochs)
        clock = self.folder / 'cache_seconds.json'
        if self.arm.cached:
            cache = self.folder / 'cache'
            with stopwatch(clock):
                for _ in output('cache_teacher.py', self.arm.config, '--out', cache, *options, env=env):
                    pass
            options.append(f'model.teacher_cache={cache}')
        train = (self.arm.config, '--work-dir', self.folder, '--resume', *options)
        lines = output('train.py', *train, env=env)
        trained_on = follow_training(lines, lambda epoch: progress.update(task, completed=epoch))
        checkpoint = best_checkpoint(self.folder)
        metrics = test(self.arm.config, checkpoint, self.folder / 'test', options, env=env)
        run = read_run(self.folder, metric='domain/mean')
        about.update(
            accuracy=metrics[f'domain/{self.domain}'],
            validation=run.best,
            curve=run.accuracy,
            training_seconds=run.seconds,
            epoch=epoch_of(checkpoint),
            machine=trained_on,
            teacher_seconds=seconds_of(clock) or 0.0,
        )
        self.mark.write(**about)
        progress.remove_task(task)
        return f'{self.name}: {about["accuracy"]:.1f} by epoch {about["epoch"]}'


def output(tool: str, *args: object, env: dict[str, str] | None = None) -> Iterator[str]:
    """The lines that a tool of ours prints."""
    return tool_output([sys.executable, str(ROOT / 'tools' / tool), *map(str, args)], tool, env)


def test(
    config: str, checkpoint: Path, folder: Path, options: list[str], env: dict[str, str] | None = None
) -> dict[str, float]:
    """A checkpoint's metrics; the prompts of a zero-shot test are printed."""
    out = folder / 'metrics.json'
    args = (config, checkpoint, '--work-dir', folder, '--out', out, '--out-item', 'metrics', *options)
    for line in output('test.py', *args, env=env):
        if 'Zero-shot prompts' in line:
            print(line[line.index('Zero-shot') :], end='', flush=True)
    return json.loads(out.read_text())


def epoch_of(checkpoint: Path) -> int:
    return int(checkpoint.stem.rsplit('_', 1)[1])


def best_checkpoint(folder: Path) -> Path:
    """What CheckpointHook saved as the best."""
    found = sorted(folder.glob('best_*.pth'), key=epoch_of)
    if not found:
        raise launch.UsageError(
            f'{folder} has no best checkpoint: the config needs default_hooks.checkpoint.save_best'
        )
    return found[-1]


def read_arm(path: str, args: argparse.Namespace) -> tuple[Arm, list[str]]:
    """An arm, and the domains that can be left out.

    Raises:
        UsageError: if the config leaves no domain out.
    """
    cfg = launch.load_config(path)
    if 'target_domain' not in cfg:
        raise launch.UsageError(
            f'{path} has no target_domain: it must read {DOMAIN_VARIABLE}, as '
            'configs/_base_/datasets/pacs_64.py does'
        )
    schedule = [] if args.epochs is None else fitted_schedule(cfg, args.epochs)
    options = (*schedule, *args.cfg_options)
    # What learns from interactions; other ways to distil ask the teacher about each view.
    cached = args.cache_teacher and 'readout' in cfg.model
    identity = settings_digest(cfg.to_dict(), options, cached)
    epochs = args.epochs or cfg.train_cfg.max_epochs
    domains = sorted([*cfg.source_domains, cfg.target_domain])
    return Arm(Path(path).stem, path, options, epochs, cached, identity), domains


def plan(args: argparse.Namespace, work_dir: Path) -> list[Cell]:
    """All cells, seed by seed, so that a comparison is possible early."""
    arms, there = zip(*(read_arm(path, args) for path in args.configs))
    if len({arm.epochs for arm in arms}) > 1:
        lengths = ', '.join(f'{arm.name} {arm.epochs}' for arm in arms)
        raise launch.UsageError(f'the CONFIGs differ in their epochs ({lengths}): give them --epochs')
    unknown = set(args.domains or []) - set(there[0])
    if unknown:
        raise launch.UsageError(f'--domains {" ".join(sorted(unknown))}: there are {", ".join(there[0])}')
    return [
        Cell(arm, domain, seed, work_dir / arm.name / domain / f'seed-{seed}')
        for seed in args.seeds
        for domain in args.domains or there[0]
        for arm in arms
    ]


def run(cells: list[Cell], workers: int) -> None:
    """Run what is not finished, and show how far it is."""
    todo = [cell for cell in cells if cell.result() is None]
    print(f'{len(cells) - len(todo)} of {len(cells)} cells are finished', flush=True)
    run_jobs([partial(cell.run, threads_for(workers)) for cell in todo], workers)


def summarise(results: list[dict]) -> list[dict]:
    """A row for each domain, their mean, and the worst of them.

    Returns:
        For each row `domain`, `accuracy`: each arm's values, seed by seed, and `difference`: for each arm but
        the first, mean, low and high end of its paired difference from the first.
    """
    arms, domains, seeds = (list(dict.fromkeys(r[key] for r in results)) for key in ('arm', 'domain', 'seed'))
    value = {(r['arm'], r['domain'], r['seed']): r['accuracy'] for r in results}
    table = np.array(
        [[[value[a, d, s] for s in seeds] for d in domains] for a in arms]
    )  # [arm, domain, seed]
    rows = np.concatenate((table, table.mean(1, keepdims=True), table.min(1, keepdims=True)), 1)
    return [
        dict(
            domain=name,
            accuracy={arm: rows[i, j].tolist() for i, arm in enumerate(arms)},
            difference={
                arm: paired_difference(rows[0, j], rows[i, j])
                for i, arm in enumerate(arms)
                if i and len(seeds) > 1
            },
        )
        for j, name in enumerate((*domains, 'mean', 'worst'))
    ]


def leave_one_out_table(rows: list[dict]) -> str:
    """The rows of `summarise` as Markdown."""
    control, *methods = rows[0]['accuracy']
    titles = ['left out', control, *(title for m in methods for title in (m, 'difference, 95 % interval'))]
    lines = [' | '.join(titles), ' | '.join('---' for _ in titles)]
    for row in rows:
        cells = [row['domain'], mean_and_spread(row['accuracy'][control])]
        for method in methods:
            cells += [mean_and_spread(row['accuracy'][method]), str(row['difference'].get(method, '–'))]
        lines.append(' | '.join(cells))
    return '\n'.join(f'| {line} |' for line in lines)


def convergence(results: list[dict]) -> list[str]:
    """For each method, how much sooner it gets where the control ends, over all domains and seeds."""
    by_arm: dict[str, list[dict]] = {}
    for result in results:
        by_arm.setdefault(result['arm'], []).append(result)
    runs = {
        arm: [Run(arm, tuple(r['curve']), r['training_seconds'], {}, 'domain/mean') for r in its]
        for arm, its in by_arm.items()
    }
    control, *methods = runs
    parts = []
    for method in methods:
        spent = sum(result['teacher_seconds'] for result in by_arm[method]) / len(by_arm[method])
        parts += [
            f"How much sooner {method} holds a share of {control}'s best, on the held-out images of the "
            f'training domains, over {len(runs[method])} pairs of a domain and a seed. The teacher took '
            f'{spent:.0f} seconds of each.',
            same_schedule_table(
                runs[control], runs[method], spent, seeds=[result['seed'] for result in by_arm[method]]
            ),
        ]
    return parts


def zero_shot_table(results: list[dict]) -> str:
    """Results of zero-shot tests as Markdown, one row a checkpoint."""
    ends = ['domain/mean', 'domain/worst']
    found = dict.fromkeys(name for result in results for name in result['metrics'])
    names = [name for name in found if name.startswith('domain/') and name not in ends] + ends
    titles = ['config', 'checkpoint', *(name.removeprefix('domain/') for name in names)]
    lines = [' | '.join(titles), ' | '.join('---' for _ in titles)]
    for result in results:
        values = [f'{result["metrics"][name]:.1f}' if name in result['metrics'] else '–' for name in names]
        lines.append(' | '.join([Path(result['config']).stem, result['checkpoint'], *values]))
    return '\n'.join(f'| {line} |' for line in lines)


def main() -> None:
    args = parse_args()
    # Each cell sets its own.
    os.environ.pop(DOMAIN_VARIABLE, None)
    work_dir = Path(args.work_dir).resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    report, content = [], {}
    if args.configs:
        cells = plan(args, work_dir)
        run(cells, args.jobs)
        content['cells'] = [cell.result() for cell in cells]
        content['leave_one_out'] = summarise(content['cells'])
        machines = sorted({result['machine'] for result in content['cells']})
        report += [
            leave_one_out_table(content['leave_one_out']),
            'Top-1 on the domain left out, in per cent, of the epoch with the best mean accuracy on held-out '
            f'images of the training domains. Seeds {", ".join(map(str, args.seeds))}: mean ± standard '
            'deviation; differences from the first are those of the pairs with the same seed, with their '
            f"95 % interval by Student's t. {cells[0].arm.epochs} epochs. Ran on {'; '.join(machines)}.",
            *convergence(content['cells']),
        ]
    if args.zero_shot:
        content['zero_shot'] = []
        for i, (config, checkpoint) in enumerate(args.zero_shot):
            paths = (Path(config).resolve(), Path(checkpoint).resolve())
            print(f'{config} with {checkpoint}', flush=True)
            metrics = test(*paths, work_dir / f'zero-shot-{i}', [])
            content['zero_shot'].append(dict(config=config, checkpoint=checkpoint, metrics=metrics))
        report.append(zero_shot_table(content['zero_shot']))
    text = '\n\n'.join(report)
    print(f'\n{text}\n\nTables and numbers: {work_dir}/results.*')
    (work_dir / 'results.md').write_text(f'{text}\n')
    (work_dir / 'results.json').write_text(json.dumps(content, indent=1))


if __name__ == '__main__':
    launch.run(main)
