import json
from functools import partial

import pytest
from lfi.errors import UsageError

TOOL = 'research compare'


@pytest.fixture
def compare(call_tool):
    return partial(call_tool, TOOL)


def write_run(folder, values, time=1.0, metric='accuracy/top1'):
    path = folder / '20260101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    rows = []
    for epoch, value in enumerate(values, 1):
        rows += [dict(epoch=epoch, step=epoch, loss=1.0, time=time), {metric: value, 'step': epoch}]
    path.write_text('\n'.join(map(json.dumps, rows)))
    return folder


def test_single_runs_are_compared_with_the_first(run_tool, tmp_path):
    first, second = write_run(tmp_path / 'a', [10, 20]), write_run(tmp_path / 'b', [20, 30])
    output = run_tool(TOOL, first, second, '--names', 'plain', 'ours', '--epochs')
    assert '| plain | 20.0 | 20.0 | 2 of 2 | 2 |' in output
    assert '| ours | 30.0 | 30.0 | 1 of 2 | 2 |' in output
    assert '| 2 | 1.000 | 30.00 |' in output


def test_a_table_of_seeds(compare, tmp_path):
    metric = 'coco/segm_mAP'
    baseline = [write_run(tmp_path / f'a{i}', [0.1 * (i + 1)], 3.0, metric) for i in range(2)]
    method = [write_run(tmp_path / f'b{i}', [0.1 * (i + 2)], 3.0, metric) for i in range(2)]
    options = ('--baseline', *baseline, '--method', *method)
    output = compare(*options, '--metrics', metric)
    assert '| mask AP | 2 | 15.0 ± 7.1 | 25.0 ± 7.1 | +10.0 (' in output
    assert 'Training seconds of the method: 3, 3' in output
    with pytest.raises(ValueError, match=f'the scalars of {baseline[0]} hold no accuracy/top1'):
        compare(*options)


def test_both_protocols_and_a_picture(compare, tmp_path):
    baseline = write_run(tmp_path / 'baseline', [10, 20, 30, 40])
    method = write_run(tmp_path / 'method', [20, 40, 45, 50])
    short = write_run(tmp_path / 'short', [20, 39])
    picture = tmp_path / 'pictures/curves.png'
    options = ('--baseline', baseline, '--method', method, '--short', short)
    output = compare(*options, '--teacher-seconds', '2', '--out', picture)
    assert '| 100 | 4.0 | 2.0 | 2.00 | 2.00 | 1.00 |' in output
    assert '| method, 2 | 1 | 39.0 | -1.0 |' in output
    assert picture.read_bytes().startswith(b'\x89PNG')


def test_what_cannot_be_compared_is_named(run_tool, compare, tmp_path, capsys):
    first, second = write_run(tmp_path / 'a', [1, 2]), write_run(tmp_path / 'b', [1])
    output = run_tool(TOOL, '--baseline', first, '--method', second, code=1)
    assert output.splitlines()[-1].startswith('error: 1 runs of the baseline')
    assert 'the same number of epochs' in output.splitlines()[-1]
    pair = ('--baseline', first, '--method', first)
    for options, words in (
        ((*pair[:2], second, *pair[2:]), '2 runs of the baseline and 1 of the method'),
        ((), 'give single runs, or a --baseline and a --method'),
        ((first, second, '--teacher-seconds', '9'), '--short and --teacher-seconds belong to a --baseline'),
        ((*pair, '--epochs'), '--epochs belongs to single runs'),
        ((*pair, '--teacher-seconds', '-5'), "--teacher-seconds: must be a number of 0 or more, got '-5'"),
        ((*pair, '--where', 'x'), '--where belongs to single runs'),
    ):
        with pytest.raises(SystemExit, match='2'):
            compare(*options)
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('{"accuracy/top1": 10.0}', 'has no localization metrics'),
        ('[1]', 'has no localization metrics'),
        ('pointing: 1', 'is not JSON: Expecting value'),
    ],
)
def test_metrics_that_do_not_say_where_are_refused(compare, tmp_path, content, words):
    run = write_run(tmp_path / 'a', [10])
    (tmp_path / 'metrics.json').write_text(content)
    with pytest.raises(UsageError, match=f'--where {tmp_path}/metrics.json {words}'):
        compare(run, '--where', tmp_path / 'metrics.json')
