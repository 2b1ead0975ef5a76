"""One table and one figure of the studies that differ by how many labels are known."""

import pytest
from study_cells import cells_of

from research.studies import Study
from research.studies.label_counts import publish_label_counts
from research.studies.label_counts_figure import draw_label_counts
from research.studies.presets import PRESETS
from research.studies.published import FOLDER, PAGE

MARKS = 'before\n<!-- reproduce: shapes-few -->\nstale\n<!-- end of shapes-few -->\nafter\n'


def test_a_line_for_each_arm_with_its_mean_and_spread():
    counts = {
        5: [*cells_of('task-loss', 10.0, 12.0), *cells_of('lfi', 20.0, 22.0)],
        25: [*cells_of('task-loss', 30.0, 30.0), *cells_of('logit-kd', 40.0)],
    }
    (axes,) = draw_label_counts(['task-loss', 'logit-kd', 'dense-features', 'lfi'], counts, 'top-1').axes
    lines = {container.get_label(): container for container in axes.containers}
    assert list(lines) == ['task-loss', 'logit-kd', 'lfi']
    assert lines['task-loss'].lines[0].get_xydata().tolist() == [[5, 11], [25, 30]]
    ((_, low), (_, high)), _ = lines['task-loss'].lines[2][0].get_segments()
    assert (low, high) == pytest.approx((11 - 2**0.5, 11 + 2**0.5))
    assert lines['logit-kd'].lines[0].get_xydata().tolist() == [[25, 40]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ['5', '25']


@pytest.fixture
def root(tmp_path):
    for path in (tmp_path / FOLDER, (tmp_path / PAGE).parent):
        path.mkdir(parents=True, exist_ok=True)
    (tmp_path / PAGE).write_text(MARKS)
    return tmp_path


def publish(study, root, *tests):
    Study({arm: cells_of(arm, *tests) for arm in ('task-loss', 'lfi')}, 'lfi').write_csv(
        root / FOLDER / f'{study}.csv'
    )
    publish_label_counts(study, root)


def test_it_is_written_once_two_studies_are_published(root):
    publish('shapes-few-25', root, 50.0, 52.0)
    assert (root / PAGE).read_text() == MARKS and not (root / FOLDER / 'shapes-few.png').exists()
    publish('shapes-few-5', root, 10.0, 12.0)
    page = (root / PAGE).read_text()
    assert page.startswith('before\n') and page.endswith('after\n') and 'stale' not in page
    assert 'top-1 on the test images, seeds 0, 1;' in page
    assert '| arm | 5 labels a class | 25 labels a class |' in page
    assert '| lfi | 11.0 ± 1.4 | 51.0 ± 1.4 |' in page
    assert '](published/shapes-few.png)' in page
    assert (root / FOLDER / 'shapes-few.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('study', ['shapes', 'shapes-none', 'shapes-tuning', 'dg-pacs'])
def test_other_studies_have_no_such_table(study, root):
    assert study in PRESETS
    publish('shapes-few-5', root, 1.0)
    publish('shapes-few-10', root, 1.0)
    (root / PAGE).write_text(MARKS)
    publish_label_counts(study, root)
    assert (root / PAGE).read_text() == MARKS
