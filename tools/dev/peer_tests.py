"""Run mmcv's and mmpretrain's own tests against LFI's ops and backbone, with the installed packages.

    git clone https://github.com/open-mmlab/mmcv && git clone https://github.com/open-mmlab/mmpretrain
    python tools/dev/peer_tests.py --mmcv mmcv --mmpretrain mmpretrain

mmcv's tests run with `lfi.ops` in place of its compiled ops. mmpretrain's tests of `VisionTransformer` run
with `lfi.models.backbones.InteractionQueryViT` in place of that class. No test of a file is deselected. The
script prints a table of the results. The exit code is 1 if a test fails, or if no test of a file passes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

OPS = ('bbox', 'nms', 'roi_align', 'roi_pool', 'deform_conv', 'modulated_deform_conv')
OP_TESTS = tuple(f'tests/test_ops/test_{op}.py' for op in OPS)
VIT_TESTS = ('tests/test_models/test_backbones/test_vision_transformer.py',)
# Arguments of InteractionQueryViT in place of VisionTransformer.
STUDENTS = {
    'no queries': dict(num_queries=0, write_back='none'),
    '8 queries, gated': dict(num_queries=8, write_back='gated'),
}


@dataclass(frozen=True)
class Case:
    """Test files of a peer that run in one process, and the part of LFI that they test.

    Args:
        clone: folder of the peer's repository.
        files: paths of test files in the repository.
        ours: name of the tested part of LFI, for the table.
        student: arguments of `InteractionQueryViT` in place of `VisionTransformer`. Defaults to None: no
            replacement.
    """

    clone: Path
    files: tuple[str, ...]
    ours: str
    student: dict | None = None


@dataclass
class Outcomes:
    """Counts of a file's test results, and of the reasons for skips."""

    counts: Counter = field(default_factory=Counter)
    skips: Counter = field(default_factory=Counter)


class OutcomePlugin:
    """Plugin of pytest that collects the `Outcomes` of each file."""

    def __init__(self) -> None:
        self.files: dict[str, Outcomes] = defaultdict(Outcomes)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.files[report.nodeid].counts['failed'] += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcomes = self.files[report.nodeid.split('::')[0]]
        if report.when == 'call' or report.outcome != 'passed':
            outcomes.counts[report.outcome] += 1
        if report.skipped:
            outcomes.skips[report.longrepr[2].removeprefix('Skipped: ')] += 1


def main(args: list[str] | None = None) -> int:
    case_list = cases(parse_args(args))
    # One process for each case: the peer's class must be replaced before the tests are imported.
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        results = pool.map(run, case_list, chunksize=1)
    print('| file | ours | passed | failed | skipped |\n| --- | --- | --- | --- | --- |')
    passed = True
    for case, outcomes in zip(case_list, results, strict=True):
        for file in case.files:
            counts = outcomes[file].counts
            passed &= counts['passed'] > 0 and not counts['failed']
            skipped = with_reasons(outcomes[file].skips)
            name = f'{case.clone.resolve().name}/{file}'
            print(f'| `{name}` | {case.ours} | {counts["passed"]} | {counts["failed"]} | {skipped} |')
    return int(not passed)


def parse_args(args: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--mmcv', type=Path, help="a clone of mmcv's repository")
    parser.add_argument('--mmpretrain', type=Path, help="a clone of mmpretrain's repository")
    options = parser.parse_args(args)
    if not cases(options):
        parser.error('give --mmcv, --mmpretrain or both')
    for case in cases(options):
        for file in case.files:
            if not (case.clone / file).is_file():
                parser.error(f'{case.clone} has no {file}: it is not a clone of the repository')
    return options


def cases(options: argparse.Namespace) -> list[Case]:
    """List the cases in the table's order."""
    case_list = []
    if options.mmcv is not None:
        case_list.append(Case(options.mmcv, OP_TESTS, '`lfi.ops`'))
    if options.mmpretrain is not None:
        for name, student in STUDENTS.items():
            ours = f'`InteractionQueryViT`, {name}'
            case_list.append(Case(options.mmpretrain, VIT_TESTS, ours, student))
    return case_list


def run(case: Case) -> dict[str, Outcomes]:
    """Run a case, and return its outcomes by file. It modifies this process for good."""
    # The clone's package must not shadow the installed one.
    clone = case.clone.resolve()
    sys.path[:] = [path for path in sys.path if path and Path(path).resolve() != clone]
    replace_peers(case.student)
    plugin = OutcomePlugin()
    # mmcv's tests read their data relative to its folder.
    os.chdir(clone)
    options = '-q --import-mode=importlib --rootdir=. -p no:cacheprovider -W ignore'
    pytest.main([*options.split(), '--continue-on-collection-errors', *case.files], plugins=[plugin])
    return plugin.files


def replace_peers(student: dict | None) -> None:
    """Replace mmcv's ops by LFI's and, with `student`, `VisionTransformer` by `InteractionQueryViT`."""
    import lfi.ops

    lfi.ops.install()
    import mmcv._ext

    if mmcv._ext.__name__ != 'lfi.ops.ext':
        sys.exit('this mmcv has compiled ops, which lfi.ops does not replace: use an mmcv without them')
    if student is None:
        return
    import mmpretrain.models.backbones
    from lfi.models.backbones import InteractionQueryViT

    class Student(InteractionQueryViT):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **student, **kwargs)

    mmpretrain.models.backbones.VisionTransformer = Student


def with_reasons(skips: Counter) -> str:
    """Format the number of skipped tests, with the reasons in brackets."""
    return f'{skips.total()} ({"; ".join(sorted(skips))})' if skips else '0'


if __name__ == '__main__':
    sys.exit(main())
