import json
import math

import pytest

from research.studies import Run, epoch_table, markdown_table, read_run
from research.studies.runs import in_per_cent


def write_scalars(folder, rows):
    path = folder / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(row) for row in rows))


def train_row(epoch, step, loss, time=0.5):
    return dict(epoch=epoch, step=step, iter=step, loss=loss, time=time, lr=0.1)


def test_a_run_is_read_with_its_resumed_part(tmp_path):
    write_scalars(
        tmp_path / '20260101_000000',
        [
            train_row(1, 10, 4.0),
            train_row(1, 20, 3.0),
            {'accuracy/top1': 10.0, 'step': 1},
            train_row(2, 30, 9.0),
        ],
    )
    write_scalars(
        tmp_path / '20260101_010000',
        [train_row(2, 30, 2.0, time=1.0), {'accuracy/top1': 20.0, 'step': 2}],
    )
    run = read_run(tmp_path, 'resumed')
    assert run.folder == tmp_path
    assert run.accuracy == (10.0, 20.0)
    assert run.losses == {'loss': {1: 3.5, 2: 2.0}}
    assert run.seconds == pytest.approx(10 * 0.5 + 10 * 0.5 + 10 * 1.0)


def test_what_a_kill_left_out_is_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('research.studies.runs.print_log', lambda message, *args: said.append(message))
    accuracies = [{'accuracy/top1': 10.0 * epoch, 'step': epoch} for epoch in (1, 3, 4)]
    write_scalars(tmp_path / '20260101_000000', [train_row(1, 10, 4.0), *accuracies])
    (tmp_path / '20260101_010000/vis_data').mkdir(parents=True)
    (tmp_path / '20260101_010000/vis_data/scalars.json').write_text('{"accuracy/top1": 50.0, "st')
    assert read_run(tmp_path).accuracy == (10.0, 30.0, 40.0)
    assert 'holds no accuracy/top1 at step 2' in said[0]


def test_a_validation_has_the_number_of_its_epoch(tmp_path):
    rows = [train_row(epoch, 10 * epoch, float(epoch)) for epoch in range(1, 11)]
    values = [{'coco/bbox_mAP': 0.1, 'step': 5}, {'coco/bbox_mAP': 0.3, 'step': 10}]
    write_scalars(tmp_path / '20260101_000000', [*rows[:5], values[0], *rows[5:], values[1]])
    run = read_run(tmp_path, metric='coco/bbox_mAP')
    assert (run.epochs, run.length) == ((5, 10), 10)
    assert run.epochs_to_hold(20.0) == 10
    assert run.seconds_until(5) == pytest.approx(run.seconds / 2)
    assert '| 10 of 10 |' in markdown_table([run])
    lines = epoch_table(run).splitlines()[2:]
    assert len(lines) == 10
    assert lines[3:5] == ['| 4 | 4.000 | – |', '| 5 | 5.000 | 10.00 |']


def test_a_schedule_that_counts_iterations_is_read(tmp_path):
    rows = [dict(step=step, iter=step, loss=float(step), time=0.1) for step in (50, 100, 150, 200)]
    values = [{'mIoU': 20.0, 'step': 100}, {'mIoU': 30.0, 'step': 200}]
    write_scalars(tmp_path / '20260101_000000', [*rows, *values])
    run = read_run(tmp_path, metric='mIoU')
    assert run.epochs == (100, 200)
    assert run.losses == {'loss': {100: 75.0, 200: 175.0}}


def test_validations_of_iterations_that_are_all_logged_at_step_0_are_named(tmp_path):
    rows = [dict(step=step, iter=step, loss=1.0, time=0.1) for step in (50, 100)]
    write_scalars(tmp_path / '20260101_000000', [*rows, {'mIoU': 20.0, 'step': 0}, {'mIoU': 30.0, 'step': 0}])
    with pytest.raises(ValueError, match='mIoU at step 0 alone.*log_metric_by_epoch=False'):
        read_run(tmp_path, metric='mIoU')


def test_the_last_validation_is_due_whatever_the_interval(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('research.studies.runs.print_log', lambda message, *args: said.append(message))
    values = [{'accuracy/top1': 10.0, 'step': step} for step in (3, 6, 9, 10)]
    write_scalars(tmp_path / '20260101_000000', [train_row(1, 10, 4.0), *values])
    assert read_run(tmp_path).epochs == (3, 6, 9, 10) and said == []


@pytest.mark.parametrize('accuracy', [(float('nan'), 50, 60), (50, float('nan'), 60), (60, float('nan'))])
def test_what_is_no_number_is_never_the_best(accuracy):
    assert Run('run', accuracy, 1.0, {}).best == 60


def test_cocos_shares_are_told_in_per_cent(tmp_path):
    values = [{'coco/bbox_mAP_50': 0.213, 'step': 1}]
    write_scalars(tmp_path / '20260101_000000', [train_row(1, 10, 4.0), *values])
    assert read_run(tmp_path, metric='coco/bbox_mAP_50').accuracy == pytest.approx((21.3,))
    # No small object.
    assert math.isnan(in_per_cent('coco/bbox_mAP_s', -1.0))


def test_what_is_no_row_is_skipped_and_what_is_no_number_is_named(tmp_path):
    file = tmp_path / '20260101_000000/vis_data/scalars.json'
    write_scalars(file.parent.parent, [{'mIoU': 20.0, 'step': 1}])
    file.write_text(f'{file.read_text()}\n3\n[1]\n"mIoU"\n{{"mIoU":')
    assert read_run(tmp_path, metric='mIoU').accuracy == (20.0,)
    write_scalars(tmp_path / '20260102_000000', [{'mIoU': 'high', 'step': 1}])
    with pytest.raises(ValueError, match="hold mIoU='high' at step 1: not a number"):
        read_run(tmp_path, metric='mIoU')


def test_validations_and_their_epochs_are_as_many():
    with pytest.raises(ValueError, match='base: 2 validations at 1 epochs'):
        Run('base', (1.0, 2.0), 1.0, {}, epochs=(5,))


@pytest.mark.parametrize(
    ('accuracy', 'target', 'epoch'),
    [
        ((10, 20, 30), 20, 2),
        ((10, 25, 15, 30), 20, 4),
        ((10, 20, 15), 20, None),
        ((30, 40), 20, 1),
        ((30, float('nan')), 20, None),
    ],
)
def test_a_target_is_held_only_from_where_the_run_stays_above_it(accuracy, target, epoch):
    assert Run('a', accuracy, 1.0, {}).epochs_to_hold(target) == epoch


def test_tables_compare_with_the_first_run():
    base = Run('base', (10.0, 30.0), 100.0, {'loss': {1: 2.0, 2: 1.0}})
    ours = Run('ours', (30.0, 35.0), 150.0, {'loss': {1: 3.0, 2: 2.0}})
    table = markdown_table([base, ours]).splitlines()
    assert '| epochs to hold 30.0 |' in table[0]
    assert table[2] == '| base | 30.0 | 30.0 | 2 of 2 | 100 |'
    assert table[3] == '| ours | 35.0 | 35.0 | 1 of 2 | 150 |'
    assert epoch_table(ours).splitlines()[2] == '| 1 | 3.000 | 30.00 |'


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_run(tmp_path)
    write_scalars(tmp_path / 'x', [train_row(1, 1, 1.0)])
    with pytest.raises(ValueError, match='accuracy/top1'):
        read_run(tmp_path)
