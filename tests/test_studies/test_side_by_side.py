"""The same arms in several studies, as one table."""

import pytest
from lfi.studies import Study
from lfi.studies.side_by_side import publish_students, side_by_side_table
from study_cells import cells_of

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
def docs(tmp_path):
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results.md').write_text(MARKS)
    return tmp_path


def publish(study, docs, *tests, arms=('task-loss', 'lfi')):
    Study({arm: cells_of(arm, *tests) for arm in arms}, 'lfi').write_csv(docs / f'results/{study}.csv')
    publish_students(study, docs)


def test_it_has_the_arms_and_seeds_that_the_published_studies_share(docs):
    publish('shapes', docs, 50.0, 52.0, 90.0, arms=('task-loss', 'logit-kd', 'lfi'))
    assert (docs / 'results.md').read_text() == MARKS
    publish('shapes-plain', docs, 10.0, 12.0)
    page = (docs / 'results.md').read_text()
    assert page.startswith('before\n') and page.endswith('after\n') and 'stale' not in page
    assert 'top-1 on the test images, seeds 0, 1; mean' in page
    assert '| arm | plain ViT, 10 epochs | stem, average pooling and prior, 10 epochs |' in page
    assert '| lfi | 11.0 ± 1.4 | 51.0 ± 1.4 |' in page and 'logit-kd' not in page
    publish('shapes-long', docs, 60.0, 60.0)
    assert '| lfi | 11.0 ± 1.4 | 51.0 ± 1.4 | 60.0 ± 0.0 |' in (docs / 'results.md').read_text()


@pytest.mark.parametrize('study', ['shapes-few-5', 'shapes-tuning', 'dg-pacs'])
def test_other_studies_have_no_such_table(study, docs):
    publish('shapes-plain', docs, 1.0)
    publish('shapes', docs, 1.0)
    (docs / 'results.md').write_text(MARKS)
    publish_students(study, docs)
    assert (docs / 'results.md').read_text() == MARKS
