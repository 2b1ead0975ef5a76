"""The table of a training, line by line."""

from lfi.engine.epoch_table import HEADER_EVERY, EpochTable

LOSSES = {'loss_a': 1.0, 'loss_b': 3.0, 'loss_c': 2.0, 'loss_d': 0.5}
METRICS = {'accuracy/top1': 12.3456, 'accuracy/top5': 50.0}


def lines(table, epoch=1, metrics=METRICS):
    return table.lines(
        {'epoch': f'{epoch}/100', 'loss': '6.5'}, LOSSES, metrics, {'seconds': '3.1', '': 'best'}
    )


def test_columns_stand_below_their_titles():
    header, line = lines(EpochTable(120))
    assert header.split() == ['epoch', 'loss', 'loss_b', 'loss_c', 'loss_a', *METRICS, 'seconds']
    assert line.split() == ['1/100', '6.5', '3', '2', '1', '12.35', '50', '3.1', 'best']
    for title, cell in (('accuracy/top1', '12.35'), ('seconds', '3.1')):
        assert header.index(title) + len(title) == line.index(cell) + len(cell)


def test_the_header_returns_now_and_then_and_with_new_columns():
    table = EpochTable(120)
    assert len(lines(table, 1, {})) == 2
    # The first validation brings columns.
    assert len(lines(table, 2)) == 2
    counts = [
        len(lines(table, epoch, {} if epoch % 2 else METRICS)) for epoch in range(3, 2 + 2 * HEADER_EVERY)
    ]
    assert counts == [1] * (HEADER_EVERY - 1) + [2] + [1] * (HEADER_EVERY - 1)


def test_a_narrow_terminal_keeps_the_most_important_columns():
    header, _ = lines(EpochTable(50))
    assert len(header) <= 50
    assert header.split() == ['epoch', 'loss', 'accuracy/top1', 'seconds']
