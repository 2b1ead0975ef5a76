"""The same arms in several studies, as one table."""

import pytest
from study_cells import cells_of

from research.studies import Study
from research.studies.published import FOLDER, PAGE
from research.studies.side_by_side import publish_students, side_by_side_table

MARKS = 'before\n<!-- reproduce: shapes-students -->\nstale\n<!-- end of shapes-students -->\nafter\n'


def test_a_row_for_each_arm_and_a_column_for_each_study():
    columns = {
        '5 labels': [*cells_of('task-loss', 10.0, 12.0), *cells_of('lfi', 20.0, 22.0)],
        '10 labels': [*cells_of('task-loss', 30.0, 30.0), *cells_of('logit-kd', 40.0)],
    }
    table = side_by_side_table(['task-loss', 'logit-kd', 'dense-features', 'lfi'], columns)
    assert table.splitlines() == [
        '| arm | 5 labels | 10 labels |',
        '| --- | --- | --- |',
        '| task-loss | 11.0 ± 1.4 | 30.0 ± 0.0 |',
        '| logit-kd | – | 40.0 (n=1) |',
        '| lfi | 21.0 ± 1.4 | – |',
    ]


@pytest.fixture
def root(tmp_path):
    for path in (tmp_path / FOLDER, (tmp_path / PAGE).parent):
        path.mkdir(parents=True, exist_ok=True)
    (tmp_path / PAGE).write_text(MARKS)
    return tmp_path


def publish(study, root, *tests, arms=('task-loss', 'lfi')):
    Study({arm: cells_of(arm, *tests) for arm in arms}, 'lfi').write_csv(root / FOLDER / f'{study}.csv')
    publish_students(study, root)


def test_it_has_the_arms_and_seeds_that_the_published_studies_share(root):
    publish('shapes', root, 50.0, 52.0, 90.0, arms=('task-loss', 'logit-kd', 'lfi'))
    assert (root / PAGE).read_text() == MARKS
    publish('shapes-plain', root, 10.0, 12.0)
    page = (root / PAGE).read_text()
    assert page.startswith('before\n') and page.endswith('after\n') and 'stale' not in page
    assert 'top-1 on the test images, seeds 0, 1; mean' in page
    assert '| arm | plain ViT, 10 epochs | stem, average pooling and prior, 10 epochs |' in page
    assert '| lfi | 11.0 ± 1.4 | 51.0 ± 1.4 |' in page and 'logit-kd' not in page
    publish('shapes-long', root, 60.0, 60.0)
    assert '| lfi | 11.0 ± 1.4 | 51.0 ± 1.4 | 60.0 ± 0.0 |' in (root / PAGE).read_text()


@pytest.mark.parametrize('study', ['shapes-few-5', 'shapes-tuning', 'dg-pacs'])
def test_other_studies_have_no_such_table(study, root):
    publish('shapes-plain', root, 1.0)
    publish('shapes', root, 1.0)
    (root / PAGE).write_text(MARKS)
    publish_students(study, root)
    assert (root / PAGE).read_text() == MARKS
