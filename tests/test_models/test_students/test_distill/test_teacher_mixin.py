"""The teacher stays outside."""

import copy

import pytest
from lfi.models import LFIImageClassifier
from small_classifier import BACKBONE, CLASSES, HEAD, NAMES, batch


def test_the_teacher_is_no_part_of_the_model(make_model):
    model = make_model()
    model.loss(*batch())
    own = ('backbone.', 'head.', 'readout.')
    assert all(name.startswith(own) for name in model.state_dict())
    assert all(name.startswith(own) for name, _ in model.named_parameters())
    inside = set(model.teacher.visual.modules())
    assert inside.isdisjoint(model.modules())
    copied = copy.deepcopy(model)
    assert copied.teacher is model.teacher
    assert copied.readout.question_head is not model.readout.question_head


def test_the_teacher_is_built_for_training_only(make_model, tmp_path):
    missing = dict(model=str(tmp_path / 'gone'))
    with pytest.raises(FileNotFoundError, match='teacher folder not found'):
        make_model(teacher=missing)
    model = LFIImageClassifier(
        backbone=dict(type='lfi.InteractionQueryViT', **BACKBONE),
        head=dict(HEAD),
        teacher=dict(type='lfi.VLMAttentionTeacher', extractor=dict(type='dense'), concepts=NAMES, **missing),
        readout=dict(text_dims=24),
    )
    inputs, samples = batch()
    predictions = model.eval().predict(inputs, samples)
    assert [p.pred_score.shape for p in predictions] == [(CLASSES,)] * 3


def test_one_step_asks_the_teacher_once_without_gradients_and_predicting_never_does(
    make_model, teacher_calls
):
    model = make_model()
    inputs, samples = batch()
    for _ in range(2):
        sum(model.loss(inputs, samples).values()).backward()
    assert teacher_calls == [(False, 3)] * 2
    model.eval().predict(inputs, samples)
    assert len(teacher_calls) == 2
