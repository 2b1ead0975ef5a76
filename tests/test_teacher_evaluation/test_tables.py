from lfi.teacher_evaluation.tables import label_table, row


def test_what_was_not_counted_leaves_its_cell_empty():
    found = dict(top1=1.0, confidence=1.0, images_per_second=1.0, megabytes=None)
    assert row('dense', {}, found)[-2:] == ['1.0', '']


def test_labels_alone_give_an_accuracy_with_its_error():
    found = dict(
        top1=None, label_top1=0.5, labelled=100, confidence=0.25, images_per_second=2.0, megabytes=None
    )
    rows = label_table(dict(images=120, extractors=dict(dense=found)), 4).splitlines()
    # The standard error of a share: sqrt(0.5 * 0.5 / 100).
    assert rows[2:] == ['| dense | 50.0 ± 5.0 | 25.0% | 2.0 |  |', '| chance: uniform | 25.0 |  |  |  |']
