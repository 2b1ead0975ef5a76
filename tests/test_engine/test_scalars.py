import json

from lfi.engine.scalars import read_scalars


def log(folder, time, steps, resume=None):
    vis_data = folder / time / 'vis_data'
    vis_data.mkdir(parents=True)
    (vis_data / 'scalars.json').write_text(''.join(json.dumps(dict(step=step)) + '\n' for step in steps))
    if resume is not None:
        (vis_data / 'config.py').write_text(f"model = dict(type='x')\nresume = {resume}\nwork_dir = 'x'\n")


def steps_of(folder):
    return [row['step'] for row in read_scalars(folder)]


def test_a_resumed_run_goes_on_and_one_that_begins_anew_stands_alone(tmp_path):
    log(tmp_path, '20260101_000000', [1, 2, 3, 4], resume=False)
    log(tmp_path, '20260102_000000', [5, 6], resume=True)
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]
    log(tmp_path, '20260103_000000', [1, 2], resume=False)
    assert steps_of(tmp_path) == [1, 2]
    log(tmp_path, '20260104_000000', [3], resume=True)
    assert steps_of(tmp_path) == [1, 2, 3]


def test_without_configs_all_runs_are_one_and_what_is_no_row_is_skipped(tmp_path):
    log(tmp_path, '20260101_000000', [1])
    log(tmp_path, '20260102_000000', [2])
    with open(tmp_path / '20260102_000000/vis_data/scalars.json', 'a') as file:
        file.write('[1]\n{"step": 3')
    assert steps_of(tmp_path) == [1, 2]
    assert steps_of(tmp_path / 'nothing') == []
