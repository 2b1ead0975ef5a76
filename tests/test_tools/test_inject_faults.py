"""A short run of `tools/dev/inject_faults.py`, and what it does with a fault that is not survived."""

import sys

import pytest
from lfi.errors import UsageError

QUICK = [
    'kills',
    'disk-full',
    'changed-checkpoint',
    'killed-worker',
    'malicious-checkpoint',
    'nan-images',
    'teacher-cache',
]


def test_quick_faults_are_survived_and_reported(run_tool, tmp_path):
    report = tmp_path / 'reliability.md'
    printed = run_tool(
        'dev/inject_faults.py', '--kills', '2', '--tries', '1', '--only', *QUICK, '--out', report
    )
    page = report.read_text()
    rows = [line for line in page.splitlines() if line.startswith('| ')]
    assert all(row in printed for row in rows)
    for said in (
        '| at a random time |',
        'when the file of a checkpoint appears',
        'bytes of the newest checkpoint change',
        'no room for a checkpoint',
        'a worker of the data loader dies',
        'runs code when it is unpickled | `tools/test.py` |',
        'all weights stay finite',
        '| a truncated manifest |',
    ):
        assert sum(said in row for row in rows) == 1
    assert '; 2 kills, seed 0' in page and str(tmp_path) not in page


def test_a_fault_that_is_not_survived_is_an_error_without_a_report(
    import_tool, monkeypatch, tmp_path, capsys
):
    bench = import_tool('dev/fault_bench.py')
    tool = import_tool('dev/inject_faults.py')

    def fault(_):
        yield tool.Row('a fault', 'by the test', 1, 'nothing')
        bench.require(1 == 2, 'the sum is wrong')

    monkeypatch.setattr(tool, 'Bench', lambda *args: None)
    monkeypatch.setattr(tool, 'FAULTS', {'sums': fault})
    monkeypatch.setattr(sys, 'argv', ['inject_faults.py', '--out', str(tmp_path / 'page.md')])
    # Put back after the test.
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    with pytest.raises(UsageError, match='1 faults were not survived'):
        tool.main()
    out, err = capsys.readouterr()
    assert '| a fault | by the test | 1 | nothing | nothing |' in out
    assert 'sums was not survived: the sum is wrong' in err
    assert not (tmp_path / 'page.md').exists()
