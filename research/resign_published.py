"""Sign the published cells again after a refactoring that changes configs and no number.

    git worktree add ../before COMMIT
    (cd ../before && python tools/dev/record_steps.py ../steps --studies shapes tiny-small)
    python -m research.resign_published ../before ../steps

A published cell is known by a digest of its config. Each arm of today takes the recorded steps from the
recorded weights. Where its losses, gradients and predictions are those of before, its cells of
`research/published` get today's digests; the others stay as they are. `resigned.csv` beside them lists all
that were compared.

Before supervision had parts, losses were added in another order, and sums of floats depend on it. So an arm
is compared twice: with its losses in the order of before, where all numbers must be equal bit for bit, and as
it is configured, where each loss of the first step must be.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lfi.cli.arguments import ArgumentParser
from lfi.cli.running import run_tool
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import Tensor

from research.studies.csv_file import write_csv
from research.studies.grid import plan
from research.studies.job import Job
from research.studies.presets import PRESETS, Preset
from research.studies.published import FOLDER, file_of, localization_file, read_published
from research.studies.settings_digest import fix_roots
from research.studies.study import Key

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ('arm', 'study', 'seed', 'before', 'after', 'same_order', 'first_losses', 'first_step')
# That of the losses of before; other parts came after these. Logit KD by itself came after the prior.
ORDER = ('logit_kd', 'prior', 'interactions')
DIGESTS = """
import json, sys
from pathlib import Path
from research.studies.grid import plan
from research.studies.presets import PRESETS
from research.studies.settings_digest import fix_roots
fix_roots()
plans = {name: plan(PRESETS[name], PRESETS[name].seeds, [], Path('unused')) for name in sys.argv[2:]}
found = {name: [[*job.key, job.identity] for job in jobs] for name, jobs in plans.items()}
Path(sys.argv[1]).write_text(json.dumps(found))
"""


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('before', type=Path, help='a checkout of the code that the cells were signed with')
    parser.add_argument('recordings', type=Path, help='folder that its tools/dev/record_steps.py has written')
    parser.add_argument('--studies', nargs='+', help='only these (default: all that are published)')
    parser.add_argument('--arms', nargs='+', help='only these; others keep their rows (default: all)')
    return parser.parse_args()


def digests_of(before: Path, studies: list[str], file: Path) -> dict[str, dict[Key, str]]:
    """The digests of all cells by the code of before, by study, arm, seed and domain."""
    path = os.pathsep.join(str(before / folder) for folder in ('projects', '.'))
    command = [sys.executable, '-W', 'ignore', '-c', DIGESTS, str(file), *studies]
    subprocess.run(command, cwd=before, env={**os.environ, 'PYTHONPATH': path}, check=True)
    found = json.loads(file.read_text())
    return {
        name: {(arm, seed, domain): digest for arm, seed, domain, digest in cells}
        for name, cells in found.items()
    }


def largest_difference(found: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> float:
    """Of all values, as a share of a tensor's largest; infinite where a value is missing."""
    if found.keys() != kept.keys() or any(found[name].shape != kept[name].shape for name in kept):
        return float('inf')
    shares = [0.0]
    for name, value in found.items():
        if not torch.equal(value, kept[name]):
            off = (value.double() - kept[name].double()).abs().max()
            shares.append((off / kept[name].double().abs().max()).item())
    return max(shares)


def compared(cfg: Config, kept: Mapping[str, Any]) -> tuple[float, float, float]:
    """How far an arm is from what was recorded.

    Returns:
        The largest differences: in the order of before of all values; and as it is configured of the first
        step's losses, and of these with their sum and the gradients.
    """
    steps: Any = import_module('record_steps')
    cfg = steps.shrink(cfg)
    as_configured = same_order = steps.run_steps(cfg, kept['weights'])
    parts = {name: part for name, part in (cfg.model.get('supervision') or {}).items() if part}
    order = ORDER if 'interactions' in parts else ORDER[1:]
    ordered = sorted(parts, key=lambda name: order.index(name) if name in order else len(order))
    if ordered != sorted(parts):
        # Parts run in the order of their names.
        cfg.model.supervision = {f'p{place}_{name}': parts[name] for place, name in enumerate(ordered)}
        same_order = steps.run_steps(cfg, kept['weights'])
    if any(found['batches'] != kept['batches'] for found in (as_configured, same_order)):
        return (float('inf'),) * 3
    values, in_order = (
        steps.rename_gradients(kept['values'], found['weights'].keys())
        for found in (as_configured, same_order)
    )
    ours, theirs = (
        {name: value for name, value in each.items() if name.startswith('step 0')}
        for each in (as_configured['values'], values)
    )
    losses = [name for name in theirs if steps.GRADIENT not in name and name != 'step 0, loss']
    return (
        largest_difference(same_order['values'], in_order),
        largest_difference(*({name: each[name] for name in losses} for each in (ours, theirs))),
        largest_difference(ours, theirs),
    )


def compared_cell(job: Job, folder: Path) -> tuple[float, float, float] | None:
    """What `compared` says of a job, and of the one before it; None where nothing was recorded."""
    steps: Any = import_module('record_steps')
    found = []
    for name, each in steps.named_jobs([job]):
        path = folder / f'{name}.pt'
        if not path.exists():
            return None
        found.append(compared(each.config(), torch.load(path)))
    return tuple(map(max, zip(*found)))


def signed(
    name: str, preset: Preset, jobs: list[Job], digests: Mapping[Key, str], folder: Path, before: Path
) -> Iterator[tuple[str, ...]]:
    """A row of `COLUMNS` for each published cell of a study that was signed with the code of before."""
    cells = read_published(preset, name, before)[0]
    # A recording is of seed 0: seeds choose images and weights, which it holds.
    recorded = {job.arm.name: job for job in plan(preset, [0], [], Path('unused'))}
    found: dict[str, tuple[float, float, float] | None] = {}
    for job in jobs:
        arm, seed, _ = job.key
        if job.key not in cells or cells[job.key].identity != digests[job.key]:
            continue
        if arm not in found:
            found[arm] = compared_cell(recorded[arm], folder)
            print(f'{name}, {arm}: {found[arm] or "nothing was recorded"}', flush=True)
        if (off := found[arm]) is not None:
            yield arm, name, str(seed), digests[job.key], job.identity, *(f'{share:.1e}' for share in off)


def sign(name: str, preset: Preset, digests: Mapping[str, str], before: Path) -> None:
    """Write a study's files as they were before, with the digests of today."""
    files = [file_of(preset, name, metric, FOLDER) for metric in preset.metrics]
    for file in (*files, localization_file(name, FOLDER)):
        if (before / file).exists():
            with open(before / file, newline='') as opened:
                titles, *rows = csv.reader(opened)
            at = titles.index('identity')
            for row in rows:
                row[at] = digests.get(row[at], row[at])
            write_csv([titles, *rows], ROOT / file)


def main(args: Namespace) -> None:
    sys.path.insert(0, str(ROOT / 'tools/dev'))
    MMLogger.get_current_instance().setLevel('ERROR')
    torch.set_num_threads(1)
    fix_roots()
    before = args.before.resolve()
    published = [name for name, preset in PRESETS.items() if any(read_published(preset, name, before))]
    studies = args.studies or published
    if unknown := sorted(set(studies) - set(published)):
        raise UsageError(f'--studies {" ".join(unknown)}: there are {", ".join(published)}')
    digests = digests_of(before, studies, args.recordings.resolve() / 'digests.json')
    file = ROOT / FOLDER / 'resigned.csv'
    table = _rows_of(file)
    for name in studies:
        preset = PRESETS[name]
        jobs = plan(preset, preset.seeds, [], Path('unused'))
        jobs = [job for job in jobs if not args.arms or job.arm.name in args.arms]
        rows = list(signed(name, preset, jobs, digests[name], args.recordings / name, before))
        compared = {row[:2] for row in rows}
        table = [row for row in table if row[:2] not in compared] + rows
        equal = {row[3]: row[4] for row in table if row[1] == name and float(row[5]) == float(row[6]) == 0}
        sign(name, preset, equal, before)
        write_csv([COLUMNS, *table], file)
        total = len(read_published(preset, name, before)[0])
        print(f'{name}: {len(equal)} of {total} cells are signed again', flush=True)


def _rows_of(file: Path) -> list[tuple[str, ...]]:
    """What a table has but for its titles; nothing where there is none."""
    if not file.exists():
        return []
    with open(file, newline='') as opened:
        return [tuple(row) for row in csv.reader(opened)][1:]


if __name__ == '__main__':
    run_tool(main, parse_args())
