import json

TOOL = 'research compare'


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


def test_a_table_of_seeds(run_tool, tmp_path):
    metric = 'coco/segm_mAP'
    baseline = [write_run(tmp_path / f'a{i}', [0.1 * (i + 1)], 3.0, metric) for i in range(2)]
    method = [write_run(tmp_path / f'b{i}', [0.1 * (i + 2)], 3.0, metric) for i in range(2)]
    options = ('--baseline', *baseline, '--method', *method)
    output = run_tool(TOOL, *options, '--metrics', metric)
    assert '| mask AP | 2 | 15.0 ± 7.1 | 25.0 ± 7.1 | +10.0 (' in output
    assert 'Training seconds of the method: 3, 3' in output
    output = run_tool(TOOL, *options, code=1)
    assert output.splitlines()[-1].startswith(f'error: the scalars of {baseline[0]} hold no accuracy/top1')


def test_both_protocols_and_a_picture(run_tool, tmp_path):
    baseline = write_run(tmp_path / 'baseline', [10, 20, 30, 40])
    method = write_run(tmp_path / 'method', [20, 40, 45, 50])
    short = write_run(tmp_path / 'short', [20, 39])
    picture = tmp_path / 'pictures/curves.png'
    options = ('--baseline', baseline, '--method', method, '--short', short)
    output = run_tool(TOOL, *options, '--teacher-seconds', '2', '--out', picture)
    assert '| 100 | 4.0 | 2.0 | 2.00 | 2.00 | 1.00 |' in output
    assert '| method, 2 | 1 | 39.0 | -1.0 |' in output
    assert picture.read_bytes().startswith(b'\x89PNG')


def test_what_cannot_be_compared_is_named(run_tool, tmp_path):
    first, second = write_run(tmp_path / 'a', [1, 2]), write_run(tmp_path / 'b', [1])
    output = run_tool(TOOL, '--baseline', first, '--method', second, code=1)
    assert output.splitlines()[-1].startswith('error: 1 runs of the baseline')
    assert 'the same number of epochs' in output.splitlines()[-1]
    output = run_tool(TOOL, '--baseline', first, second, '--method', second, code=2)
    assert '2 runs of the baseline and 1 of the method' in output
    assert 'give single runs, or a --baseline and a --method' in run_tool(TOOL, code=2)
    pair = ('--baseline', first, '--method', first)
    for options, words in (
        ((first, second, '--teacher-seconds', '9'), '--short and --teacher-seconds belong to a --baseline'),
        ((*pair, '--epochs'), '--epochs belongs to single runs'),
        ((*pair, '--teacher-seconds', '-5'), "--teacher-seconds: must be a number of 0 or more, got '-5'"),
    ):
        assert words in run_tool(TOOL, *options, code=2)


def test_metrics_that_do_not_say_where_are_refused(run_tool, tmp_path):
    run = write_run(tmp_path / 'a', [10])
    for content, words in (
        ('{"accuracy/top1": 10.0}', 'does not say where a student looks'),
        ('[1]', 'does not say where a student looks'),
        ('pointing: 1', 'is no JSON: Expecting value'),
    ):
        (tmp_path / 'metrics.json').write_text(content)
        output = run_tool(TOOL, run, '--where', tmp_path / 'metrics.json', code=1)
        assert f'error: --where {tmp_path}/metrics.json {words}' in output.splitlines()[-1]
    output = run_tool(TOOL, '--baseline', run, '--method', run, '--where', 'x', code=2)
    assert '--where belongs to single runs' in output
