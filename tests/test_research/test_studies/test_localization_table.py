"""Where each arm's student looks, in tables and files."""

import pytest
from study_cells import finish

from research.studies.grid import plan
from research.studies.localization_table import (
    NAMES,
    Localization,
    collect_localization,
    localization_report,
    read_localization,
    read_localization_cell,
    write_localization,
)
from research.studies.presets import PRESETS

LEVELS = {
    'pointing_teacher': 0.8,
    'pointing_centre': 0.45,
    'energy_teacher': 0.5,
    'between_concepts_teacher': 0.1,
    'presence_average_precision_teacher': 0.9,
    'presence_average_precision_frequency': 0.1,
}


def located(seed, pointing, identity='', **values):
    return Localization(seed, {'pointing': pointing, **values, **LEVELS}, identity)


@pytest.fixture
def cells():
    other = {'between_concepts': 0.15, 'presence_average_precision': 0.81}
    return {
        'task-loss': [located(seed, 0.5) for seed in range(3)],
        'lfi': [
            located(seed, pointing, energy=0.4, **other) for seed, pointing in enumerate((0.7, 0.72, 0.74))
        ],
    }


def test_a_row_for_each_arm_and_for_what_the_method_is_compared_with(cells):
    assert localization_report(cells, 'lfi').splitlines()[2:] == [
        "| arm | seeds | pointing | energy | between concepts | presence, AP | lfi's pointing minus it |",
        '| --- | --- | --- | --- | --- | --- | --- |',
        '| task-loss | 3 | 50.0 ± 0.0 | – | – | – | +22.0 (+17.0 to +27.0) |',
        '| lfi | 3 | 72.0 ± 2.0 | 40.0 ± 0.0 | 0.15 ± 0.00 | 81.0 ± 0.0 | – |',
        '| *teacher* | 3 | 80.0 ± 0.0 | 50.0 ± 0.0 | 0.10 ± 0.00 | 90.0 ± 0.0 | -8.0 (-13.0 to -3.0) |',
        '| *centre map* | 3 | 45.0 ± 0.0 | – | – | – | +27.0 (+22.0 to +32.0) |',
        '| *frequency* | 3 | – | – | – | 10.0 ± 0.0 | – |',
        '',
        "lfi has 0.90 ± 0.03 of its teacher's pointing and 0.90 ± 0.00 of its teacher's presence, AP. "
        'Between concepts, lfi minus its teacher is +0.05 ± 0.00.',
    ]


def test_objects_that_are_not_the_label_have_columns_where_there_are_some(cells):
    cells['lfi'][0] = located(0, 0.7, unlabelled_pointing=0.6, unlabelled_pointing_teacher=0.7)
    rows = localization_report({'lfi': cells['lfi']}, 'lfi').splitlines()[2:]
    assert '| pointing, not the label |' in rows[0] and 'presence, AP, not the label' not in rows[0]
    assert '| 60.0 |' in rows[2] and '| 70.0 |' in rows[3]


def test_a_study_that_measured_nothing_has_no_table(cells):
    assert localization_report({}, 'lfi') == ''
    # Without the method there is no teacher to compare with.
    assert len(localization_report({'task-loss': cells['task-loss']}, 'lfi').splitlines()) == 2 + 3


def test_the_file_keeps_what_was_measured(cells, tmp_path):
    cells['lfi'][0] = located(0, 0.7, identity='abc', unlabelled_pointing=0.25)
    write_localization(cells, tmp_path / 'a_localization.csv')
    lines = (tmp_path / 'a_localization.csv').read_text().splitlines()
    assert lines[0].split(',') == ['arm', 'seed', *NAMES, 'identity'] and len(lines) == 1 + 6
    assert read_localization(tmp_path / 'a_localization.csv') == {
        (arm, cell.seed, None): cell for arm, found in cells.items() for cell in found
    }
    assert read_localization(tmp_path / 'none_localization.csv') == {}


@pytest.fixture
def jobs(tmp_path):
    return {job.arm.name: job for job in plan(PRESETS['shapes'], [0], [], tmp_path)}


def test_cells_say_where_they_look_as_far_as_it_compares(jobs):
    measured = {'semantic/pointing': 0.5, 'semantic/energy': 0.3, 'semantic/flip': 0.9}
    finish(jobs['lfi'], **measured)
    finish(jobs['task-loss'], **measured)
    finish(jobs['queries'])
    assert read_localization_cell(jobs['lfi']).values == {'pointing': 0.5, 'energy': 0.3}
    # The scale of class activation maps is arbitrary.
    assert read_localization_cell(jobs['task-loss']).values == {'pointing': 0.5}
    assert read_localization_cell(jobs['queries']) is None
    assert read_localization_cell(jobs['logit-kd']) is None


def test_what_is_published_counts_where_its_settings_are_todays(jobs):
    finish(jobs['lfi'], **{'semantic/pointing': 0.5})
    published = {
        jobs['lfi'].key: located(0, 0.1, jobs['lfi'].identity),
        jobs['task-loss'].key: located(0, 0.2, jobs['task-loss'].identity),
        jobs['logit-kd'].key: located(0, 0.3, 'other settings'),
    }
    found = collect_localization(jobs.values(), published)
    assert {arm: cell.values['pointing'] for arm, (cell,) in found.items()} == {'lfi': 0.5, 'task-loss': 0.2}
