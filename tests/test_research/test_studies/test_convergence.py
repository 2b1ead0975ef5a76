from dataclasses import replace
from pathlib import Path

import pytest
from lfi.errors import UsageError

from research.studies import Run, equal_finish_table, same_schedule_table


def run(*accuracy, seconds=100.0):
    return Run('run', accuracy, seconds, {})


def test_the_same_schedule_in_epochs_and_seconds():
    baseline = [run(10, 50, 90, 100, seconds=40.0)]
    method = [run(50, 100, 100, 101, seconds=80.0)]
    rows = same_schedule_table(baseline, method, teacher_seconds=20.0).splitlines()[2:]
    # 90 % of the baseline's best: its epoch 3 of 10 s each, the method's epoch 2 of 20 s each.
    assert rows[0] == '| 90 | 3.0 | 2.0 | 1.50 | 0.75 | 0.50 |'
    assert rows[3] == '| 100 | 4.0 | 2.0 | 2.00 | 1.00 | 0.67 |'


def test_what_a_baselines_teacher_took_counts_too():
    baseline, method = [run(10, 20, seconds=40.0)], [run(20, 20, seconds=40.0)]
    row = same_schedule_table(
        baseline, method, teacher_seconds=20.0, thresholds=[100], baseline_teacher_seconds=60.0
    ).splitlines()[2]
    # (40 + 60) / (20 + 20).
    assert row == '| 100 | 2.0 | 1.0 | 2.00 | 2.00 | 2.50 |'
    row = same_schedule_table(baseline, method, thresholds=[100], baseline_teacher_seconds=None).splitlines()[
        2
    ]
    assert row.endswith('| 2.00 | – |')


def test_several_seeds_give_an_interval_and_each_seed_its_own_target():
    baseline = [run(10, 20, 30, 40), run(1, 2, 3, 4)]
    method = [run(40, 40, 40, 40), run(1, 4, 4, 4)]
    row = same_schedule_table(baseline, method, thresholds=[100]).splitlines()[2]
    # The geometric mean of 4 and 2, and the interval of their logarithms: 12.7 times their standard error.
    assert row.startswith('| 100 | 4.0 ± 0.0 | 1.5 ± 0.7 | 2.83 (0.03 to 231.22) |')
    row = same_schedule_table(baseline, method, thresholds=[100], seeds=[0, 0]).splitlines()[2]
    assert row.startswith('| 100 | 4.0 ± 0.0 | 1.5 ± 0.7 | 2.83 | ')


def test_a_speed_up_and_its_reverse_are_as_far_from_one():
    first, second = [run(10, 20, 30, 30), run(30, 30, 30, 30)], [run(30, 30, 30, 30), run(10, 20, 30, 30)]
    assert '| 1.00 (' in same_schedule_table(first, second, thresholds=[100])


def test_no_time_gives_no_ratio():
    rows = same_schedule_table([run(10, 20, seconds=0.0)], [run(20, 20, seconds=3.0)], thresholds=[100])
    assert rows.splitlines()[2] == '| 100 | 2.0 | 1.0 | 2.00 | – | – |'


def test_a_target_that_is_not_held_gives_no_speed_up():
    baseline = [run(10, 20), run(10, 20)]
    method = [run(20, 19), run(20, 21)]
    row = same_schedule_table(baseline, method, thresholds=[100]).splitlines()[2]
    assert row == '| 100 | 2.0 ± 0.0 | 1 of 2 hold it | – | – | – |'


def test_equal_finish_takes_each_length_for_itself():
    baseline = [run(1, 2, 30), run(1, 2, 32)]
    short = [run(1, 29), run(5), run(1, 33), run(7)]
    rows = equal_finish_table(baseline, short).splitlines()[2:]
    assert rows[0] == '| baseline, 3 | 2 | 31.0 ± 1.4 | – |'
    assert rows[1].startswith('| method, 1 | 2 | 6.0 ± 1.4 | -25.0 (')
    assert rows[2].startswith('| method, 2 | 2 | 31.0 ± 2.8 | +0.0 (')


@pytest.mark.parametrize('method', [[run(1, 2)], [run(1, 2), run(1, 2, 3)]])
def test_runs_that_are_no_pairs_of_one_schedule_are_refused(method):
    with pytest.raises(UsageError, match='the same number of epochs'):
        same_schedule_table([run(1, 2), run(1, 2)], method)


def test_short_runs_must_be_as_many():
    short = replace(run(1), folder=Path('short/seed-0'))
    with pytest.raises(UsageError, match='1 short runs of 1 epochs, short/seed-0, and 2 of the baseline'):
        equal_finish_table([run(1, 2), run(1, 2)], [short])


def test_a_run_without_a_validation_that_others_have_is_named():
    folders = [Path(f'arm/seed-{seed}') for seed in range(2)]
    method = [replace(run(1, 2), folder=folders[0]), Run('arm', (1.0, 2.0), 9.0, {}, '', (1, 3), folders[1])]
    message = 'the validations of arm/seed-1 differ from those of run$'
    with pytest.raises(UsageError, match=message):
        same_schedule_table([run(1, 2), run(1, 2)], method)


def test_epochs_between_validations_count():
    def every_fifth(*accuracy):
        return Run('run', accuracy, 100.0, {}, epochs=tuple(range(5, 5 * len(accuracy) + 1, 5)))

    rows = same_schedule_table([every_fifth(10, 20, 30)], [every_fifth(30, 30, 30)]).splitlines()
    assert rows[-1] == '| 100 | 15.0 | 5.0 | 3.00 | 3.00 | 3.00 |'
    rows = equal_finish_table([every_fifth(10, 20)], [every_fifth(15)]).splitlines()
    assert "minus the baseline's 10 epochs" in rows[0]
    assert rows[-1] == '| method, 5 | 1 | 15.0 | -5.0 |'
