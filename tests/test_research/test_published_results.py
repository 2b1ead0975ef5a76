"""Published numbers are of today's configs: who changes one runs its studies again, or removes its cells."""

from pathlib import Path

import pytest

from research.studies.grid import plan
from research.studies.localization_table import collect_localization, localization_report
from research.studies.presets import PRESETS
from research.studies.published import (
    FOLDER,
    is_published,
    read_published,
    read_published_localization,
    stale_cells,
)
from research.studies.reproduce import collect, report

ROOT = Path(__file__).resolve().parents[2]
# The domains of VLCS and the classes of zero-shot tests are those of the data that is there.
OF_DATA = ('dg-vlcs', 'zero-shot')
STUDIES = [
    name
    for name, preset in PRESETS.items()
    if name not in OF_DATA and any(read_published(preset, name, ROOT))
]


@pytest.mark.parametrize('name', STUDIES)
def test_a_published_study_has_nothing_to_run_again(name, tmp_path):
    preset = PRESETS[name]
    published, published_localization = (
        read_published(preset, name, ROOT),
        read_published_localization(name, ROOT),
    )
    assert all(published)
    jobs = plan(preset, preset.seeds, [], tmp_path)
    assert stale_cells(jobs, published, published_localization) == []
    # An arm that no one has run yet is none to run again.
    known = {arm for cells in (*published, published_localization) for arm, _, _ in cells}
    run_again = [
        job
        for job in jobs
        if job.seed in preset.seeds_of(job.arm) and not is_published(job, published, published_localization)
    ]
    assert [job.name for job in run_again if job.arm.name in known] == []
    # Its tables are made of what is published.
    studies = {
        metric: collect(preset, jobs, metric, cells) for metric, cells in zip(preset.metrics, published)
    }
    where = collect_localization(jobs, published_localization)
    assert sum(map(len, where.values())) == len(published_localization)
    text = report(preset, studies, where)
    assert all(f'{arm.name} ' in text for arm in preset.arms if arm.name in known)
    for arm in where:
        assert f'| {arm} |' in localization_report(where, preset.method)


def test_each_file_of_where_students_look_is_of_a_study_that_measures_it(tmp_path):
    named = {
        path.name.removesuffix('_localization.csv') for path in (ROOT / FOLDER).glob('*_localization.csv')
    }
    assert all(name in STUDIES and read_published_localization(name, ROOT) for name in named)


@pytest.mark.parametrize('name', [name for name in STUDIES if name.endswith('-tuning')])
def test_no_published_range_of_settings_ends_at_its_best(name):
    preset = PRESETS[name]
    (cells,) = read_published(preset, name, ROOT)
    runs = {arm: cell.run.accuracy[-1] for (arm, _, _), cell in cells.items()}
    ranges: dict[str, list[float]] = {}
    for arm in preset.arms[1:]:
        ranges.setdefault(arm.name.split()[0], []).append(runs[arm.name])
    for arm, found in ranges.items():
        # Of one setting, which is the default, nothing was chosen.
        assert len(found) == 1 or max(found) not in (found[0], found[-1]), (arm, found)
