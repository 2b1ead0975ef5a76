"""Published numbers are of today's configs: who changes one runs its studies again, or removes its cells."""

from pathlib import Path

import pytest
from lfi.studies.grid import plan
from lfi.studies.presets import PRESETS
from lfi.studies.published import dropped, is_published, read_published
from lfi.studies.reproduce import collect, report

DOCS = Path(__file__).resolve().parents[2] / 'docs'
# The domains of VLCS and the classes of zero-shot tests are those of the data that is there.
OF_DATA = ('dg-vlcs', 'zero-shot')
STUDIES = [
    name
    for name, preset in PRESETS.items()
    if name not in OF_DATA and any(read_published(preset, name, DOCS))
]


@pytest.mark.parametrize('name', STUDIES)
def test_a_published_study_has_nothing_to_run_again(name, tmp_path):
    preset = PRESETS[name]
    published = read_published(preset, name, DOCS)
    assert all(published)
    jobs = plan(preset, preset.seeds, [], tmp_path)
    assert dropped(jobs, published) == []
    # An arm that no one has run yet is none to run again.
    known = {arm for cells in published for arm, _, _ in cells}
    assert [job.name for job in jobs if job.arm.name in known and not is_published(job, published)] == []
    # Its tables are made of what is published.
    studies = {
        metric: collect(preset, jobs, metric, cells) for metric, cells in zip(preset.metrics, published)
    }
    text = report(preset, studies)
    assert all(f'{arm.name} ' in text for arm in preset.arms if arm.name in known)
