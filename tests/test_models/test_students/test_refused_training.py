"""What a student refuses before it trains: options by which something would learn nothing, without a word."""

from types import SimpleNamespace

import pytest
import torch
from lfi.models import OtherImage, ShuffledLocations
from lfi.models.controls import other_image_rows
from lfi.models.students.student import student_class
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
            'readout is given, but no supervision part trains',
        ),
        (
            dict(supervision=None, predict_by=dict(type='lfi.ByTexts'), readout=dict(text_dims=24)),
            'predicts by presence, and no part learns presence',
        ),
        (
            dict(supervision=interactions(), predict_by=dict(type='lfi.ByTexts', concepts=['a', 'b'])),
            'names the classes of a test',
        ),
        (dict(supervision=None, predict_by=dict(type='lfi.ByClassActivation')), 'for testing only'),
        (
            dict(supervision=ROOM, teacher=dict(cache='maps')),
            "no supervision part reads model.teacher.cache='maps'",
        ),
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
        (dict(training=dict(type='lfi.AffinityPrior')), "named 'training'. The name is reserved"),
        (dict(d=dict(type='lfi.DenseFeatures', teacher_dims=7)), 'supervision.d: teacher_dims=7, but .* 24 '),
        (
            dict(d=dict(type='lfi.FeatureMSE', student_dims='7')),
            "supervision.d: student_dims='7' must be a whole",
        ),
        (
            interactions() | dict(a=dict(type='lfi.Interactions', loss=dict(type='lfi.AffinityPrior'))),
            'supervision.a: loss.type=AffinityPrior has no spatial_weight',
        ),
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
            r"^predict_by=.* must be a config with a type, such as dict.type='lfi.ByClass",
        ),
        (
            dict(predict_by=dict(type='lfi.LogitKD')),
            "predict_by.type='lfi.LogitKD' is no PredictBy; choose from",
        ),
        (dict(control={}), '^control={} must be a config with a type'),
        (dict(control=dict(type='lfi.Other')), "control.type='lfi.Other' is unknown; choose from"),
        (dict(readout=[1]), 'readout=.1. must be a dict'),
        (dict(readout=dict(foo=1)), '^readout: .*foo'),
        (dict(readout=dict(type='lfi.Nope')), "^readout.type='lfi.Nope' is unknown"),
        (dict(readout=dict(contrast_weight=2)), '^readout: contrast_weight=2 must'),
        (dict(readout=dict(embed_dims=5)), '^readout.embed_dims=5 must be the width of the backbone'),
        (dict(teacher=dict(cache=5)), '^teacher.cache=5 must be a folder'),
        (dict(teacher=dict(concepts=5)), '^concepts=5 must be a list of names'),
        (dict(teacher=dict(concepts=[['a']])), 'must be a list of names'),
        (dict(teacher=dict(background=5)), '^background=5 must be a list of texts'),
        (dict(teacher=dict(templates=5)), '^templates=5 must be a list of prompts'),
        (dict(teacher=dict(allow_random='no')), "^allow_random='no' must be True or False"),
        (dict(teacher=dict(extractor=dict(type='maskclip', foo=1))), '^teacher.extractor: .*foo'),
    ],
)
def test_options_of_a_wrong_shape(make_classifier, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make_classifier(**{'supervision': parts('interactions'), **changes})


@pytest.mark.parametrize('task', ['', 5, 'Nope'])
def test_what_is_no_task(task):
    with pytest.raises(ValueError, match=f'^task={task!r} is not a registered model'):
        student_class(task)


def test_what_has_no_weight_trains_nothing(make_classifier):
    unlearnt = dict(type='lfi.LogitKD', loss_weight=0)
    with pytest.raises(ValueError, match='predicts by presence, and no part learns presence'):
        make_classifier(
            supervision=dict(kd=unlearnt), predict_by=dict(type='lfi.ByTexts'), readout=dict(text_dims=24)
        )
    with pytest.raises(ValueError, match='supervision teaches the backbone nothing, and there is no task'):
        make_classifier(task=None, head=None, supervision=dict(prior=dict(ROOM['prior'], loss_weight=0)))


def test_a_part_without_weight_has_no_control(make_classifier):
    part = dict(type='lfi.LogitKD', loss_weight=0)
    with pytest.raises(ValueError, match='changes nothing that supervision.kd reads'):
        make_classifier(supervision=dict(kd=part), control=dict(type='lfi.OtherImage'))


def test_no_image_is_its_own_other_image():
    def rows(*files, key='img_path'):
        samples = [DataSample(metainfo={key: file}) for file in files]
        view = SimpleNamespace(data_samples=samples, inputs=torch.zeros(len(files), 1))
        return other_image_rows(view).tolist()

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
        ShuffledLocations().change_teacher_targets(Targets(None, one), view)
    assert OtherImage().change_teacher_targets(Targets(None, one), view).features is not None
