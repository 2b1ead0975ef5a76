import json

import pytest

from research.studies import Cell, Run
from research.studies.domains import DomainStudy, read_domain_cells


def cells(**domains):
    """Of domain=[accuracy by seed]."""
    run = Run('arm', (5.0, 10.0), 100.0, {}, 'domain/mean')
    return [
        Cell(seed, run, value, 'a CPU', 'abc', 7.0, domain, 2)
        for domain, values in domains.items()
        for seed, value in enumerate(values)
    ]


@pytest.fixture
def study():
    return DomainStudy(
        dict(
            base=cells(photo=[50.0, 60.0, 70.0], sketch=[20.0, 80.0, 30.0]),
            ours=cells(photo=[51.0, 62.0, 73.0], sketch=[20.0, 80.0, 30.0]),
        )
    )


def test_the_table_pairs_the_seeds(study):
    # t of 2 degrees of freedom is 4.303; the differences 1, 2, 3 have a standard error of 0.577.
    assert study.table().splitlines()[2:] == [
        '| photo | 60.0 ± 10.0 | 62.0 ± 11.0 | +2.0 (-0.5 to +4.5) |',
        '| sketch | 43.3 ± 32.1 | 43.3 ± 32.1 | +0.0 (+0.0 to +0.0) |',
        '| mean | 51.7 ± 17.6 | 52.7 ± 17.8 | +1.0 (-0.2 to +2.2) |',
        # Of each seed the worst domain.
        '| worst | 36.7 ± 20.8 | 37.3 ± 21.9 | +0.7 (-2.2 to +3.5) |',
    ]


def test_the_report_says_what_was_measured_and_how_soon(study):
    text = study.report()
    assert 'Seeds 0, 1, 2: mean ± standard deviation' in text
    assert '2 epochs. Ran on a CPU.' in text
    # All runs are alike, so each arm is as soon as the other.
    assert "How much sooner ours holds a share of base's best" in text
    assert 'over 6 pairs of a domain and a seed. The teacher took 7 seconds for base and' in text
    assert '| 100 | 2.0 ± 0.0 | 2.0 ± 0.0 | 1.00 (1.00 to 1.00) |' in text


def test_what_not_all_arms_have_is_not_compared(study):
    late = cells(photo=[51.0, 62.0])
    rows = DomainStudy({**study.cells, 'ours': late}).rows()
    assert [row['domain'] for row in rows] == ['photo', 'mean', 'worst']
    assert rows[0]['accuracy'] == dict(base=[50.0, 60.0], ours=[51.0, 62.0])


@pytest.mark.parametrize(
    'late', [cells(cartoon=[51.0, 62.0]), [cell for cell in cells(photo=[1.0] * 5) if cell.seed > 2]]
)
def test_where_nothing_is_shared_nothing_is_compared(study, late):
    study = DomainStudy({**study.cells, 'ours': late})
    assert study.rows() == study.content()['leave_one_out'] == []
    assert study.report() == (
        'base, ours have not left out the same domains with the same seeds yet: there is nothing to compare.'
    )


def test_cells_are_read_as_they_were_written(study, tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(study.content()))
    found = read_domain_cells(tmp_path / 'a.json')
    assert len(found) == 12
    for arm, wanted in study.cells.items():
        for cell in wanted:
            other = found[arm, cell.seed, cell.domain]
            assert (other.test, other.run.accuracy, other.epoch) == (cell.test, cell.run.accuracy, 2)


def test_the_file_keeps_the_epochs_of_the_validations(tmp_path):
    file, run = tmp_path / 'a.json', Run('base', (1.0, 2.0), 1.0, {}, 'domain/mean', epochs=(5, 10))
    content = DomainStudy({'base': [Cell(0, run, 2.0, 'a CPU', domain='photo')]}).content()
    file.write_text(json.dumps(content))
    assert read_domain_cells(file)['base', 0, 'photo'].run == run
