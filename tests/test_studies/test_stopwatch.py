import json

import pytest
from lfi.studies.stopwatch import seconds_of, stopwatch


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr('lfi.studies.stopwatch.time.perf_counter', lambda: now[0])
    return now


def test_seconds_add_up_until_the_work_is_whole(tmp_path, clock):
    file = tmp_path / 'run/seconds.json'
    assert seconds_of(file) is None
    with pytest.raises(KeyboardInterrupt), stopwatch(file):
        clock[0] += 5
        raise KeyboardInterrupt
    with stopwatch(file):
        clock[0] += 2
    with stopwatch(file):
        clock[0] += 1
    assert seconds_of(file) == 7


def test_a_file_of_an_older_version_stays(tmp_path):
    file = tmp_path / 'seconds.json'
    file.write_text(json.dumps(dict(seconds=3.0)))
    with stopwatch(file):
        pass
    assert json.loads(file.read_text()) == dict(seconds=3.0)
