import csv
import re
from dataclasses import replace

import numpy as np
import pytest

from research.studies import Cell, Run, Study, read_cells


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
    return Study(arms, 'ours', {'noise': 'ours'})


def test_a_row_compares_an_arm_with_the_baseline_and_with_the_method(study):
    rows = study.table().splitlines()
    assert rows[0].startswith('| arm | seeds | top-1, test | minus base | ours minus it |')
    assert rows[2] == '| base | 3 | 22.0 ± 2.0 | – | +10.0 (+10.0 to +10.0) | 22.0 ± 2.0 | 2.7 | 30 |'
    assert rows[4].startswith('| ours | 3 | 32.0 ± 2.0 | +10.0 (+10.0 to +10.0) | – |')


def test_the_verdict_says_when_shuffled_maps_help_as_much(study):
    assert 'noise is not significantly different from ours' in study.verdict()
    worse = Study({**study.cells, 'noise': cells(20.0, 23.0, 24.0)}, 'ours', {'noise': 'ours'})
    assert worse.verdict().startswith('**ours beats noise**')

    better = Study({**study.cells, 'noise': cells(40.0, 43.0, 44.0)}, 'ours', {'noise': 'ours'})
    assert better.verdict().startswith('**noise beats ours**, by +10.3 (+8.9 to +11.8) points of top-1')


def test_the_shuffled_baseline_of_another_arm_is_compared_with_the_method_too(study):
    arms = {**study.cells, 'noise': cells(20.0, 23.0, 24.0), 'peer': cells(50.0, 51.0, 52.0)}
    arms['peer-noise'] = cells(51.0, 50.0, 52.0)
    said = Study(arms, 'ours', {'noise': 'ours', 'peer-noise': 'peer'}).verdict()
    assert re.findall(r'\*\*(.+?)\*\*', said) == [
        'peer-noise is not significantly different from peer',
        'peer-noise beats ours',
        'ours beats noise',
    ]


def test_one_seed_gives_no_verdict_and_no_interval():
    study = Study({'base': cells(20.0), 'noise': cells(25.0), 'ours': cells(30.0)}, 'ours', {'noise': 'ours'})
    assert study.verdict() == ''
    assert study.table().splitlines()[4].startswith('| ours | 1 | 30.0 | – | – | 30.0 |')


def test_a_seed_that_the_baseline_has_not_run_holds_nothing(study):
    late = [replace(study.cells['ours'][0], seed=seed) for seed in (8, 9)]
    arms = {**study.cells, 'some': [*study.cells['ours'], *late], 'late': late}
    rows = [row.split(' | ') for row in Study(arms, 'ours').table().splitlines()[2:]]
    held = {row[0]: row[6] for row in rows}
    assert held['| some'] == held['| ours'] == '2.7'
    assert held['| late'] == '–'


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
    assert cells.keys() == {(arm, seed, None) for arm in study.cells for seed in range(3)}
    for (arm, seed, _), cell in cells.items():
        wanted = study.cells[arm][seed]
        assert (cell.run.accuracy, cell.test, cell.machine) == (
            wanted.run.accuracy,
            wanted.test,
            wanted.machine,
        )


def test_a_table_is_that_of_what_was_written(tmp_path):
    # As MMEngine's log has them: 92.600002 and 92.349998 have a mean that is rounded to another digit.
    single = [float(np.float32(value)) for value in (92.6, 92.35, 91.8)]
    fresh = {
        arm: [replace(cell, run=replace(cell.run, seconds=31.26)).rounded() for cell in cells(*tests)]
        for arm, tests in (('base', [20.0, 22.0, 24.0]), ('ours', single))
    }
    study = Study(fresh, 'ours')
    study.write_csv(tmp_path / 'a.csv')
    read = read_cells(tmp_path / 'a.csv', 'top-1')
    again = {arm: [read[arm, seed, None] for seed in range(3)] for arm in fresh}
    assert Study(again, 'ours').table() == study.table()
    assert [cell.test for cell in fresh['ours']] == [92.6, 92.35, 91.8]


def test_the_csv_keeps_the_epochs_of_the_validations(tmp_path):
    run = Run('base', (1.0, 2.0), 1.0, {}, epochs=(5, 10))
    Study({'base': [Cell(0, run, 2.0, 'a CPU')]}, 'ours').write_csv(tmp_path / 'a.csv')
    assert read_cells(tmp_path / 'a.csv', 'top-1')['base', 0, None].run == run


def test_arms_are_compared_by_the_seeds_they_share(study):
    arms = {**study.cells, 'late': [study.cells['ours'][2], study.cells['ours'][1]]}
    study = Study(arms, 'ours')
    assert str(study.difference('base', 'late')) == '+10.0 (+10.0 to +10.0)'
    assert study.difference('late', 'late') is None
    assert study.difference('base', 'nothing') is None


def test_convergence_has_both_protocols(study):
    fast = [
        replace(cell, run=replace(cell.run, accuracy=(15.0, 30.0, 40.0))) for cell in cells(40.0, 40.0, 40.0)
    ]
    short = {
        'ours in 2 epochs': [
            replace(cell, run=replace(cell.run, accuracy=(9.0, 23.0), epochs=(1, 2))) for cell in fast
        ]
    }
    study = replace(study, cells={**study.cells, 'ours': fast}, short=short)
    text = study.convergence()
    # Nothing was asked before.
    assert 'The teacher took' not in text
    asked = [replace(cell, teacher_seconds=20.0) for cell in fast]
    told = replace(study, cells={**study.cells, 'ours': asked}).convergence()
    assert 'The teacher took 20 seconds for ours before training.' in told
    # Where the baseline learns from a teacher too, both pay for it.
    taught = [replace(cell, teacher_seconds=30.0) for cell in study.cells['base']]
    told = replace(study, cells={'base': taught, 'ours': asked}).convergence()
    assert 'The teacher took 30 seconds for base and 20 seconds for ours before training.' in told
    # The baseline ends with 20, 22 and 24, and ours is past that after two of three epochs.
    assert '| 100 | 2.7 ± 0.6 | 2.0 ± 0.0 | 1.31 (' in text
    assert '| method, 2 | 3 | 23.0 ± 0.0 | +1.0 (' in text


def test_convergence_is_told_against_each_baseline_that_was_run(study):
    slow = [replace(cell, run=replace(cell.run, accuracy=(1.0, 2.0, 3.0))) for cell in cells(3.0, 3.0, 3.0)]
    short = {
        'ours in 2 epochs': [
            replace(cell, run=replace(cell.run, accuracy=(9.0, 23.0), epochs=(1, 2)))
            for cell in study.cells['ours']
        ]
    }
    study = replace(
        study, cells={**study.cells, 'bare': slow}, short=short, further_baselines=('bare', 'none')
    )
    text = study.convergence()
    first, second = text.split("ours holds a share of bare's best")
    assert "ours holds a share of base's best" in first
    assert 'in fewer epochs, against base;' in first and 'in fewer epochs, against bare;' in second
    # From 3 to 23 points.
    assert '| method, 2 | 3 | 23.0 ± 0.0 | +20.0 (' in second
    assert 'none' not in text


def test_a_run_that_lacks_a_validation_holds_up_nothing_else(study):
    first, *others = study.cells['ours']
    killed = replace(first, run=replace(first.run, accuracy=(20.0, 30.0), epochs=(2, 3)))
    study = replace(study, cells={**study.cells, 'ours': [killed, *others]})
    assert study.convergence() == 'How much sooner ours is than base is not told: a run lacks a validation.'
    assert '+10.0' in study.table()


def test_unknown_costs_of_the_teacher_are_not_guessed(study):
    unknown = [replace(cell, teacher_seconds=None) for cell in study.cells['ours']]
    text = replace(study, cells={**study.cells, 'ours': unknown}).convergence()
    assert 'The teacher took' not in text
    assert all(line.endswith('| – |') for line in text.splitlines() if re.match(r'\| \d', line))


def test_without_the_method_there_is_no_convergence(study):
    assert replace(study, cells={'base': study.cells['base']}).convergence() == ''
