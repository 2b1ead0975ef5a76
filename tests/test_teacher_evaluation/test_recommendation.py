import torch
from lfi.teacher_evaluation.recommendation import choose, recommendation


def test_a_recommendation_says_whether_it_is_significant():
    one = choose(dict(image=torch.rand(9).numpy()))
    assert one == dict(choice='image', second=None, ahead=None)
    close = dict(choice='share', second='scores', ahead=[0.02, 0.02])
    found = dict(positions_reading=close, presence=one)
    text = recommendation('gem', found)
    assert text == (
        "Recommended for gem: model.reading=dict(positions_reading='share', presence='image'): 'share' is "
        "ahead of 'scores' by 2 ± 2 points of the pointing game (not significantly different); 'image' is "
        'all that these maps have.'
    )
