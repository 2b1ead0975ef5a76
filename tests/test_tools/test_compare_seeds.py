import json


def write_run(folder, value):
    path = folder / '20260101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    rows = [dict(epoch=1, step=1, loss=1.0, time=3.0), {'coco/segm_mAP': value, 'step': 1}]
    path.write_text('\n'.join(map(json.dumps, rows)))
    return folder


def test_a_table_of_seeds(run_tool, tmp_path):
    control = [write_run(tmp_path / f'control{i}', 0.1 * (i + 1)) for i in range(2)]
    method = [write_run(tmp_path / f'method{i}', 0.1 * (i + 2)) for i in range(2)]
    options = ('--control', *control, '--metrics', 'coco/segm_mAP')
    output = run_tool('analysis_tools/compare_seeds.py', *options, '--method', *method)
    assert '| mask AP | 2 | 15.0 ± 7.1 | 25.0 ± 7.1 | +10.0 (' in output
    assert 'Training seconds of the method: 3, 3' in output
    output = run_tool('analysis_tools/compare_seeds.py', *options, '--method', method[0], code=2)
    assert '2 runs of the control and 1 of the method' in output
    output = run_tool(
        'analysis_tools/compare_seeds.py', '--control', *control, '--method', method[0], tmp_path, code=1
    )
    assert output.splitlines()[-1].startswith(f'error: the scalars of {control[0]} hold no accuracy/top1')
