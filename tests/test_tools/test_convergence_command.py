import json


def write_run(folder, values, time=1.0):
    path = folder / '20260101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    rows = []
    for epoch, value in enumerate(values, 1):
        rows += [dict(epoch=epoch, step=epoch, loss=1.0, time=time), {'accuracy/top1': value, 'step': epoch}]
    path.write_text('\n'.join(map(json.dumps, rows)))
    return folder


def test_both_protocols_and_a_picture(run_tool, tmp_path):
    control = write_run(tmp_path / 'control', [10, 20, 30, 40])
    method = write_run(tmp_path / 'method', [20, 40, 45, 50])
    short = write_run(tmp_path / 'short', [20, 39])
    picture = tmp_path / 'curves.png'
    output = run_tool(
        'analysis_tools/convergence.py',
        *(
            '--control',
            control,
            '--method',
            method,
            '--short',
            short,
            '--teacher-seconds',
            '2',
            '--out',
            picture,
        ),
    )
    assert '| 100 | 4.0 | 2.0 | 2.00 | 2.00 | 1.00 |' in output
    assert '| method, 2 | 1 | 39.0 | -1.0 |' in output
    assert picture.read_bytes().startswith(b'\x89PNG')


def test_unlike_schedules_are_an_error_of_one_line(run_tool, tmp_path):
    control, method = write_run(tmp_path / 'a', [1, 2]), write_run(tmp_path / 'b', [1])
    output = run_tool('analysis_tools/convergence.py', '--control', control, '--method', method, code=1)
    assert output.splitlines()[-1].startswith('error: 1 runs of the control')
    assert 'the same number of epochs' in output.splitlines()[-1]
