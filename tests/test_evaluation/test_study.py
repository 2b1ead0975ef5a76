import csv

import pytest
from lfi.evaluation import Cell, Run, Study, read_cells


def cells(*tests, curve=(10.0, 20.0)):
    return [
        Cell(seed, Run('arm', (*curve, test), 30.0, {}), test, 'a CPU') for seed, test in enumerate(tests)
    ]


@pytest.fixture
def study():
    arms = {
        'base': cells(20.0, 22.0, 24.0),
        'noise': cells(29.0, 33.0, 33.0),
        'ours': cells(30.0, 32.0, 34.0),
    }
    return Study(arms, 'ours', ('noise',))


def test_a_row_compares_an_arm_with_the_baseline_and_with_the_method(study):
    rows = study.table().splitlines()
    assert rows[0].startswith('| arm | seeds | top-1, test | minus base | ours minus it |')
    assert rows[2] == '| base | 3 | 22.0 ± 2.0 | – | +10.0 (+10.0 to +10.0) | 22.0 ± 2.0 | 2.7 | 30 |'
    assert rows[4].startswith('| ours | 3 | 32.0 ± 2.0 | +10.0 (+10.0 to +10.0) | – |')
    assert len(study.table(['ours']).splitlines()) == 3


def test_the_verdict_says_when_shuffled_maps_help_as_much(study):
    assert 'noise cannot be told from ours' in study.verdict()
    worse = Study({**study.cells, 'noise': cells(20.0, 23.0, 24.0)}, 'ours', ('noise',))
    assert worse.verdict().startswith('**ours beats noise**')


def test_one_seed_gives_no_verdict_and_no_interval():
    study = Study({'base': cells(20.0), 'noise': cells(25.0), 'ours': cells(30.0)}, 'ours', ('noise',))
    assert study.verdict() == ''
    assert study.table().splitlines()[4].startswith('| ours | 1 | 30.0 | – | – | 30.0 |')


def test_the_csv_has_each_epoch(study, tmp_path):
    study.write_csv(tmp_path / 'a.csv')
    rows = list(csv.DictReader((tmp_path / 'a.csv').open()))
    assert len(rows) == 3 * 3 * 3
    assert [row['test'] for row in rows[:3]] == ['', '', '20.000']
    assert rows[2] | {'machine': ''} == {
        'arm': 'base',
        'seed': '0',
        'epoch': '3',
        'validation': '20.000',
        'test': '20.000',
        'training_seconds': '30.0',
        'teacher_seconds': '0.0',
        'machine': '',
        'identity': '',
    }


def test_cells_are_read_as_they_were_written(study, tmp_path):
    study.write_csv(tmp_path / 'a.csv')
    cells = read_cells(tmp_path / 'a.csv', 'top-1')
    assert cells.keys() == {(arm, seed) for arm in study.cells for seed in range(3)}
    for (arm, seed), cell in cells.items():
        wanted = study.cells[arm][seed]
        assert (cell.run.accuracy, cell.test, cell.machine) == (
            wanted.run.accuracy,
            wanted.test,
            wanted.machine,
        )


def test_arms_are_compared_by_the_seeds_they_share(study):
    arms = {**study.cells, 'late': [study.cells['ours'][2], study.cells['ours'][1]]}
    study = Study(arms, 'ours')
    assert str(study.difference('base', 'late')) == '+10.0 (+10.0 to +10.0)'
    assert study.difference('late', 'late') is None
    assert study.difference('base', 'nothing') is None
