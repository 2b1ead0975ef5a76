"""The pictures show what the tables say."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from research.studies import Cell, Run, Study
from research.studies.convergence_figure import draw_convergence
from research.studies.study_figure import draw_study


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def cells(*tests):
    return [Cell(seed, Run('run', (1.0, test), 10.0, {}), test, 'cpu') for seed, test in enumerate(tests)]


def test_curves_are_means_and_gains_have_their_points():
    study = Study({'base': cells(10.0, 20.0), 'ours': cells(15.0, 27.0), 'once': cells(30.0)}, 'ours')
    curves, gains = draw_study(study).axes
    lines = {line.get_label(): line.get_ydata() for line in curves.lines}
    np.testing.assert_allclose(lines['base'], [1, 15])
    np.testing.assert_allclose(lines['ours'], [1, 21])
    assert [label.get_text() for label in gains.get_yticklabels()] == ['once', 'ours']
    points = [
        scatter.get_offsets()[:, 0].tolist() for scatter in gains.collections if scatter.get_offsets().size
    ]
    assert [20.0] in points and [5.0, 7.0] in points


def test_curves_are_drawn_where_all_seeds_were_validated():
    runs = Run('run', (1.0, 2.0, 6.0), 10.0, {}), Run('run', (3.0, 8.0), 10.0, {}, epochs=(1, 3))
    arm = [Cell(seed, run, 2.0, 'cpu') for seed, run in enumerate(runs)]
    curves, _ = draw_study(Study({'base': arm}, 'ours')).axes
    assert curves.lines[0].get_xydata().tolist() == [[1, 2], [3, 7]]


@pytest.mark.parametrize(
    ('accuracy', 'rise'), [((1.0, 8.0, 9.0, 9.5, 11.0), '1.5'), ((1.0, 8.0, 9.0, 10.0, 11.0), None)]
)
def test_a_reference_that_still_rises_is_named(accuracy, rise):
    arm = [Cell(0, Run('run', accuracy, 10.0, {}), 2.0, 'cpu')]
    title = draw_study(Study({'base': arm}, 'ours')).axes[0].get_title()
    assert title == (f'not converged: base rises by {rise} points in its last fifth' if rise else '')


def test_the_teachers_time_comes_before_the_methods_curve():
    runs = [cell.run for cell in cells(10.0, 20.0)]
    epochs, seconds = draw_convergence(runs, runs, teacher_seconds=7.0).axes
    starts = {line.get_label(): line.get_xdata()[0] for line in seconds.lines}
    assert starts['method'] - starts['baseline'] == pytest.approx(7)
    assert {line.get_label(): line.get_xdata()[0] for line in epochs.lines}['method'] == 1


def test_points_stand_at_the_epochs_of_the_validations():
    run = Run('run', (1.0, 2.0), 10.0, {}, epochs=(5, 10))
    for figure in (
        draw_study(Study({'base': [Cell(0, run, 2.0, 'cpu')]}, 'ours')),
        draw_convergence([run], [run]),
    ):
        assert figure.axes[0].lines[0].get_xdata().tolist() == [5, 10]
    assert draw_convergence([run], [run]).axes[1].lines[0].get_xdata().tolist() == [5, 10]
