from lfi.teacher_evaluation.tables import row


def test_what_was_not_counted_leaves_its_cell_empty():
    found = dict(top1=1.0, confidence=1.0, images_per_second=1.0, megabytes=None)
    assert row('dense', {}, found)[-2:] == ['1.0', '']
