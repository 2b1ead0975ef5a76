"""What a student refuses before it trains: options by which something would learn nothing, without a word."""

from types import SimpleNamespace

import pytest
import torch
from lfi.models import OtherImage, ShuffledLocations
from lfi.models.controls import other_rows
from lfi.structures import Targets
from mmpretrain.structures import DataSample
from part_inputs import features
from small_students import PARTS, interactions, parts

ROOM = dict(prior=dict(type='lfi.AffinityPrior'))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(supervision=ROOM, readout=dict(text_dims=24)),
            'readout is given, and no supervision part trains',
        ),
        (
            dict(supervision=None, predict_by=dict(type='lfi.ByTexts'), readout=dict(text_dims=24)),
            'predicts by presence, and no part learns it',
        ),
        (
            dict(supervision=interactions(), predict_by=dict(type='lfi.ByTexts', concepts=['a', 'b'])),
            'names the classes of a test',
        ),
        (dict(supervision=None, predict_by=dict(type='lfi.ByClassActivation')), 'for testing only'),
        (dict(supervision=ROOM, teacher=dict(cache='maps')), "cache='maps' is read by no supervision part"),
    ],
)
def test_nothing_random_predicts_or_answers(make_classifier, changes, message):
    with pytest.raises(ValueError, match=message):
        make_classifier(**changes)


@pytest.mark.parametrize(
    ('supervision', 'message'),
    [
        (
            dict(a=PARTS['interactions'], b=PARTS['interactions']),
            'supervision.a and supervision.b are both lfi.Interactions',
        ),
        (
            interactions(spatial_weight=0, semantic_weight=0, presence_weight=0),
            'supervision.interactions: .* are all 0, and nothing is learnt',
        ),
        (dict(training=dict(type='lfi.AffinityPrior')), "named 'training', which is taken"),
        (dict(d=dict(type='lfi.DenseFeatures', teacher_dims=7)), 'supervision.d: teacher_dims=7, but .* 24 '),
    ],
)
def test_parts_that_do_not_fit(make_classifier, supervision, message):
    with pytest.raises(ValueError, match=message):
        make_classifier(supervision=supervision)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(predict_by=dict(concepts=['a'])),
            r"^predict_by=.* must be a config with a type, as dict.type='lfi.ByClass",
        ),
        (
            dict(predict_by=dict(type='lfi.LogitKD')),
            "predict_by.type='lfi.LogitKD' is no PredictBy; choose from",
        ),
        (dict(control={}), '^control={} must be a config with a type'),
        (dict(control=dict(type='lfi.Other')), "control.type='lfi.Other' is unknown; choose from"),
        (dict(readout=[1]), 'readout=.1. must be a dict'),
    ],
)
def test_options_of_a_wrong_shape(make_classifier, changes, message):
    with pytest.raises(ValueError, match=message):
        make_classifier(**{'supervision': parts('interactions'), **changes})


def test_a_part_without_weight_has_no_control(make_classifier):
    part = dict(type='lfi.LogitKD', loss_weight=0)
    with pytest.raises(ValueError, match='changes nothing that supervision.kd reads'):
        make_classifier(supervision=dict(kd=part), control=dict(type='lfi.OtherImage'))


def test_no_image_is_its_own_other_image():
    def rows(*files, key='img_path'):
        samples = [DataSample(metainfo={key: file}) for file in files]
        return other_rows(SimpleNamespace(data_samples=samples, inputs=torch.zeros(len(files), 1))).tolist()

    assert rows('a', 'b', 'c') == [2, 0, 1]
    # Repeats, as RepeatAugSampler and LabelledShareSampler draw them.
    assert rows('a', 'a', 'b', 'a') == [2, 2, 1, 2]
    # A data set without files numbers its images.
    assert rows(5, 5, 7, key='sample_idx') == [2, 2, 1]
    for alone in (('a',), ('a', 'a')):
        with pytest.raises(ValueError, match='has no other image to take from'):
            rows(*alone)


def test_one_location_is_not_shuffled():
    one = features(4, grid=(1, 1))
    view = SimpleNamespace(data_samples=(), inputs=torch.zeros(3, 1))
    with pytest.raises(ValueError, match='has a grid of one location, and nothing to shuffle'):
        ShuffledLocations().change_targets(Targets(None, one), view)
    assert OtherImage().change_targets(Targets(None, one), view).features is not None
