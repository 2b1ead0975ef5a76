import pytest
from lfi.errors import UsageError

from research.studies.run_mark import RunMark


def test_what_a_run_leaves_is_read_by_a_run_of_the_same_settings(tmp_path):
    mark = RunMark(tmp_path / 'run/cell.json', 'a')
    assert mark.read() == {}
    mark.write(seed=0)
    mark.write(test=1.5)
    assert mark.read() == dict(identity='a', test=1.5)
    with pytest.raises(UsageError, match=f'{tmp_path / "run"} was started with other settings'):
        RunMark(mark.path, 'b').read()
    mark.path.write_text('')
    assert mark.read() == {}
