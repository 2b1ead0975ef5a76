"""Forest plots of the published studies."""

import pytest
from study_cells import cells_of

from research.studies import Study
from research.studies.forest_figure import FOLDER, QUESTIONS, TITLES, draw_forest, publish_forests
from research.studies.overview import STUDIES
from research.studies.presets import PRESETS
from research.studies.published import FOLDER as PUBLISHED


@pytest.fixture
def study():
    tests = dict(task_loss=(10.0, 12.0), logit_kd=(20.0, 22.5), lfi=(30.0, 33.0))
    arms = {name.replace('_', '-'): values for name, values in tests.items()}
    cells = {name: cells_of(name, *values) for name, values in arms.items()}
    return Study(cells, 'lfi', {'other-image': 'lfi'}, metric='top-1')


def test_each_difference_has_its_interval_and_its_arm(study):
    figure = draw_forest({'photos': [study], 'none': [], 'two': [study, study]}, 'dark')
    (axes,) = figure.axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    two = 'two, tuned with 10 labels a class\nLFI 31.5, 2 seeds'
    assert names == ['photos\nLFI 31.5, 2 seeds', two, two]
    assert [text.get_text() for text in axes.texts] == ['+20.5 task-loss', '+10.2 logit-kd'] * 3
    # The middle of each interval is the mean difference; its ends are those of the tables.
    (segment,) = axes.collections[0].get_segments()
    difference = study.difference('task-loss', 'lfi')
    assert segment[:, 0] == pytest.approx([difference.low, difference.high])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        'minus reference',
        'minus best other baseline',
    ]


def test_each_question_that_has_numbers_gets_its_figures(study, tmp_path):
    (tmp_path / PUBLISHED).mkdir(parents=True)
    publish_forests(tmp_path)
    assert not (tmp_path / FOLDER).exists()
    study.write_csv(tmp_path / PUBLISHED / 'tiny-none.csv')
    publish_forests(tmp_path)
    files = {file.name for file in (tmp_path / FOLDER).iterdir()}
    names = 'evidence-summary-light.png', 'evidence-summary-dark.png', 'evidence-no-label-light.png'
    assert files == set(names)


def test_every_study_of_the_overview_but_one_is_in_a_figure():
    drawn = {name for names in QUESTIONS.values() for name in names}
    assert drawn <= PRESETS.keys() & TITLES.keys()
    # The plain ViT's differences are ten times as large as those beside it.
    assert STUDIES.keys() - drawn == {'shapes-plain'}
