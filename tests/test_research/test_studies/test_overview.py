"""One table of all studies."""

import pytest
from study_cells import cells_of

from research.studies import Study
from research.studies.overview import STUDIES, overview_table, publish_overview
from research.studies.presets import PRESETS
from research.studies.published import FOLDER, PAGE

MARKS = 'before\n<!-- reproduce: overview -->\nstale\n<!-- end of overview -->\nafter\n'


def study(**arms):
    arms = {name.replace('_', '-'): tests for name, tests in arms.items()}
    controls = {
        'other-image': 'lfi',
        'shuffled-locations': 'lfi',
        'mean-target': 'lfi',
        'other-image-affinity': 'pairwise-affinity',
    }
    found = {name: cells_of(name, *tests) for name, tests in arms.items()}
    return Study(found, 'lfi', controls, metric='top-1')


def rows(table):
    return [line.strip('| ').split(' | ') for line in table.splitlines()[2:]]


def test_the_best_of_the_other_baselines_stands_beside_the_method():
    found = study(
        task_loss=(10.0, 12.0),
        logit_kd=(20.0, 22.0),
        feature_mse=(15.0, 17.0),
        # One seed alone, an ablation and a control are no baseline to choose.
        dense_features=(50.0,),
        lfi_spatial=(60.0, 62.0),
        other_image_affinity=(70.0, 72.0),
        other_image=(9.0, 10.0),
        shuffled_locations=(11.0, 12.0),
        mean_target=(80.0,),
        lfi=(30.0, 33.0),
    )
    ((name, metric, seeds, reference, best, control, lfi, *differences),) = rows(
        overview_table({'photos': [found]})
    )
    assert (name, metric, seeds) == ('photos', 'top-1', '2')
    assert (reference, best) == ('11.0 ± 1.4 task-loss', '21.0 ± 1.4 logit-kd')
    assert (control, lfi) == ('11.5 ± 0.7 shuffled-locations', '31.5 ± 2.1')
    assert [text.split()[0] for text in differences] == ['+20.5', '+10.5', '+20.0']


def test_three_seeds_are_enough_to_be_the_best():
    found = study(
        task_loss=(10.0,) * 5,
        other_image=(9.0,) * 5,
        shuffled_locations=(60.0,) * 2,
        mean_target=(20.0, 21.0, 22.0),
        lfi=(30.0, 33.0, 30.0, 90.0, 90.0),
    )
    ((*_, control, lfi, _, _, difference),) = rows(overview_table({'photos': [found]}))
    assert (control, lfi.split()[0]) == ('21.0 ± 1.0 mean-target', '54.6')
    # Of the seeds that both have.
    assert difference.split()[0] == '+10.0'


def test_the_best_is_that_of_the_seeds_that_both_have():
    # The first three seeds are easy ones.
    found = study(
        task_loss=(10.0,) * 5,
        logit_kd=(40.0, 41.0, 42.0),
        dense_features=(48.0, 48.0, 48.0, 20.0, 20.0),
        lfi=(50.0, 51.0, 52.0, 22.0, 22.0),
    )
    (row,) = rows(overview_table({'photos': [found]}))
    assert row[4].endswith(' dense-features') and row[8].startswith('+2.6 ')


def test_what_was_not_run_is_left_open():
    (row,) = rows(overview_table({'photos': [study(task_loss=(10.0,), lfi=(30.0,))]}))
    assert row[3:] == ['10.0 task-loss', '–', '–', '30.0', '–', '–', '–']
    assert overview_table({'photos': [study(task_loss=(1.0,))], 'none': []}) == ''
    assert overview_table({'photos': [study(lfi=(1.0,))]}) == ''


@pytest.mark.parametrize('name', STUDIES)
def test_each_study_has_a_reference_of_its_own(name):
    assert PRESETS[name].arms[0].name != PRESETS[name].method


def test_it_is_written_from_what_is_published(tmp_path):
    root = tmp_path
    for path in (root / FOLDER, (root / PAGE).parent):
        path.mkdir(parents=True, exist_ok=True)
    (root / PAGE).write_text(MARKS)
    publish_overview(root)
    assert (root / PAGE).read_text() == MARKS
    found = study(lfi=(30.0, 32.0), task_loss=(10.0, 12.0))
    found.write_csv(root / FOLDER / 'tiny-small.csv')
    publish_overview(root)
    page = (root / PAGE).read_text()
    assert page.startswith('before\n') and page.endswith('after\n') and 'stale' not in page
    # The reference is the study's own, whatever comes first in the file.
    assert '| photos, all labels | top-1 | 2 | 11.0 ± 1.4 task-loss | – | – | 31.0 ± 1.4 |' in page
