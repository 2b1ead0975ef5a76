import torch
from lfi.evaluation.teachers.tables import choose, label_table, recommendation, row


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


def test_a_recommendation_says_whether_it_is_significant():
    one = choose(dict(image=torch.rand(9).numpy()))
    assert one == dict(choice='image', second=None, ahead=None)
    close = dict(choice='concept_softmax', second='logits', ahead=[0.02, 0.02])
    found = dict(spatial_reading=close, presence=one)
    text = recommendation('gem', found)
    assert text == (
        "Recommended for gem: model.supervision.interactions.reading=dict(spatial_reading='concept_softmax', "
        "presence='image'): 'concept_softmax' is ahead of 'logits' by 2 ± 2 points of the pointing game (not "
        "significantly different); 'image' is all that these maps have."
    )
