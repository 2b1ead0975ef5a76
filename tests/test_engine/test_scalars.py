import json

from lfi.engine.scalars import read_scalars


def log(folder, time, steps, resume=None, validated=()):
    """A run that logged its loss at these iterations, and was validated after others."""
    vis_data = folder / time / 'vis_data'
    vis_data.mkdir(parents=True)
    rows = [dict(step=step, loss=1.0) for step in steps] + [dict(step=step, top1=1.0) for step in validated]
    (vis_data / 'scalars.json').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    if resume is not None:
        (vis_data / 'config.py').write_text(f"model = dict(type='x')\nresume = {resume}\nwork_dir = 'x'\n")


def steps_of(folder, **arguments):
    return [row['step'] for row in read_scalars(folder, **arguments) if 'loss' in row]


def validations(folder, **arguments):
    return [row['step'] for row in read_scalars(folder, **arguments) if 'loss' not in row]


def test_a_resumed_run_goes_on_and_one_that_begins_anew_stands_alone(tmp_path):
    log(tmp_path, '20260101_000000', [50, 100, 150, 200], False, [1, 2])
    log(tmp_path, '20260102_000000', [250, 300], True, [3])
    assert steps_of(tmp_path) == [50, 100, 150, 200, 250, 300] and validations(tmp_path) == [1, 2, 3]
    log(tmp_path, '20260103_000000', [50, 100], False, [1])
    assert steps_of(tmp_path) == [50, 100] and validations(tmp_path) == [1]
    log(tmp_path, '20260104_000000', [150], True, [2])
    assert steps_of(tmp_path) == [50, 100, 150] and validations(tmp_path) == [1, 2]


def test_a_start_that_wrote_no_checkpoint_takes_nobodys_place(tmp_path):
    log(tmp_path, '20260101_000000', [50, 100, 150, 200, 250, 300], False, [1, 2, 3])
    # Without --resume, by mistake, and stopped in its first epoch of 100.
    log(tmp_path, '20260102_000000', [50], False)
    # The run that goes on from the first one has logged nothing yet, and then something.
    assert validations(tmp_path, resumed_at=300) == [1, 2, 3]
    log(tmp_path, '20260103_000000', [350, 400], True, [4])
    assert validations(tmp_path) == [1, 2, 3, 4] and steps_of(tmp_path)[-3:] == [300, 350, 400]
    # From the first epoch of the start itself.
    log(tmp_path / 'b', '20260101_000000', [50, 100, 150, 200, 250, 300], False, [1, 2, 3])
    log(tmp_path / 'b', '20260102_000000', [50, 100, 150], False, [1])
    assert validations(tmp_path / 'b', resumed_at=100) == [1]
    log(tmp_path / 'b', '20260103_000000', [150, 200], True, [2])
    assert validations(tmp_path / 'b') == [1, 2]


def test_without_configs_all_runs_are_one_and_what_is_no_row_is_skipped(tmp_path):
    log(tmp_path, '20260101_000000', [1])
    log(tmp_path, '20260102_000000', [2])
    with open(tmp_path / '20260102_000000/vis_data/scalars.json', 'a') as file:
        file.write('[1]\n{"step": 3')
    assert steps_of(tmp_path) == [1, 2]
    assert steps_of(tmp_path / 'nothing') == []
