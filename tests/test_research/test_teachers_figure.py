"""Pointing of teachers: rows from `lfi eval-teacher`, and their figure."""

import csv
import sys

import pytest
from lfi.cli import eval_teacher
from lfi.cli.arguments import ArgumentParser
from lfi.errors import UsageError

from research.commands import teachers
from research.studies.teachers_figure import MAPS, draw_teachers

RESULTS = {
    'images': 20,
    'regions': 44,
    'extractors': {'dense': {'maps': {'logits': {'pointing': [0.5, 0.02]}}}},
    'chance': {'chance: centre': {'pointing': [0.25, 0.01]}},
}
ROWS = [
    ('COCO, 448 px', 'lit-lite0', '20', '44', 'logits', '50.00', '2.00'),
    ('COCO, 448 px', 'lit-lite0', '20', '44', 'chance: centre', '25.00', '1.00'),
]


def test_maps_and_chance_are_rows():
    assert list(teachers.rows_of('COCO, 448 px', 'lit-lite0', RESULTS)) == ROWS


def test_the_figure_has_each_map_with_its_interval():
    (axes,) = draw_teachers([dict(zip(teachers.COLUMNS, row)) for row in ROWS]).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ['COCO, 448 px\nlit-lite0, 44 regions']
    ends = [segment[:, 0].tolist() for bars in axes.collections for segment in bars.get_segments()]
    assert ends == [pytest.approx([50 - 3.92, 50 + 3.92]), pytest.approx([25 - 1.96, 25 + 1.96])]
    assert 'chance: centre' in MAPS


def test_a_file_is_drawn_again_and_a_missing_one_is_named(tmp_path, monkeypatch):
    file, figure = tmp_path / 'teachers.csv', tmp_path / 'images/teachers.png'
    monkeypatch.setattr(sys, 'argv', ['teachers', '--draw', '--csv', str(file), '--figure', str(figure)])
    with pytest.raises(UsageError, match='is not there: leave out --draw'):
        teachers.main(teachers.parse_args())
    with file.open('w', newline='') as out:
        csv.writer(out).writerows([teachers.COLUMNS, *ROWS])
    teachers.main(teachers.parse_args())
    assert figure.is_file()


@pytest.mark.parametrize('words', teachers.RUNS.values(), ids=str)
def test_its_runs_have_arguments_of_the_command(words, config_path):
    parser = ArgumentParser()
    eval_teacher.add_arguments(parser)
    assert parser.parse_args(words).config.startswith('configs/')
    config_path(words[0].removeprefix('configs/'))
