"""What predicts: the head, texts of the classes or of named ones, and features."""

import copy

import pytest
import torch
import torch.nn.functional as F
from lfi.models import ByFeatures, ByHead, ByTexts
from lfi.models.students.predict_by import pool
from lfi.models.teachers.loading.weights import load_vlm
from mmengine.logging import MMLogger
from mmpretrain.models.classifiers import ImageClassifier
from small_students import CLASSES, HEAD, VIT, batch, interactions, parts, raw_batch

NAMED = ['dog', 'horse', 'house']
PROMPTS = ['a photo of a {}.', 'a sketch of a {}.']
BY_TEXTS = dict(type='lfi.ByTexts')
ZERO_SHOT = dict(type='lfi.ByTexts', concepts=NAMED, templates=PROMPTS)


@pytest.fixture
def make_model(make_classifier):
    """A student, not at its first values; its teacher knows more than the classes, and a background."""

    def make(std=0.2, **arguments):
        teacher = dict(background=['wall'], **arguments.pop('teacher', {}))
        return make_classifier(std=std, teacher=teacher, **arguments)

    return make


@pytest.fixture
def zero_shot(make_model):
    """A student without a head that tells `NAMED`; `changes` are arguments of its `predict_by`."""

    def make(predict_by=ZERO_SHOT, **arguments):
        return make_model(head=None, supervision=None, predict_by=predict_by, **arguments).eval()

    return make


def named_batch(**arguments):
    """Of a data set with the classes `NAMED`."""
    inputs, samples = batch(**arguments)
    for sample in samples:
        sample.set_metainfo(dict(num_classes=len(NAMED)))
    return inputs, samples


def scores_of(predictions):
    return torch.stack([sample.pred_score for sample in predictions])


@pytest.fixture
def named_texts(teacher_folder):
    """The texts of `NAMED`, by the teacher's text tower."""
    vlm, tokenizer = load_vlm(teacher_folder('vit'), None, False)
    with torch.no_grad():
        each = [
            F.normalize(vlm.encode_text(tokenizer([p.format(n) for n in NAMED])), dim=-1) for p in PROMPTS
        ]
        return F.normalize(sum(each) / 2, dim=-1)


# ---- ByHead ----------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize('predict_by', [None, dict(type='lfi.ByHead')])
def test_by_default_a_task_predicts_in_its_own_way(make_model, predict_by):
    model = make_model(predict_by=predict_by).eval()
    plain = ImageClassifier(backbone=dict(type='mmpretrain.VisionTransformer', **VIT), head=dict(HEAD)).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    inputs, samples = batch()
    assert isinstance(model.predict_by, ByHead)
    assert torch.equal(model(inputs)[0], plain(inputs)[0])
    ours, theirs = (each.predict(inputs, copy.deepcopy(samples)) for each in (model, plain))
    assert torch.equal(scores_of(ours), scores_of(theirs))


# ---- ByTexts, of the classes -----------------------------------------------------------------------------


@torch.no_grad()
def test_predictions_are_the_softmax_of_the_classes_presence(make_model):
    model = make_model(predict_by=BY_TEXTS).eval()
    assert model.teacher is not None  # Built as when training begins.
    inputs, samples = batch()
    presence = model.ask(inputs, model.teacher.text_embeddings).presence[:, :CLASSES]
    expected = torch.logit(presence.double()).softmax(1).float()
    found = model(inputs, samples, mode='predict')
    torch.testing.assert_close(scores_of(found), expected, rtol=1e-4, atol=1e-6)
    assert [sample.pred_label.item() for sample in found] == expected.argmax(1).tolist()
    torch.testing.assert_close(model(inputs).softmax(1), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scores_of(model.predict(inputs)), expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize('rule', [dict(), dict(thr=0.4), dict(topk=2), dict(thr=0.6, topk=2)])
def test_of_a_multi_label_head_predictions_are_each_classs_presence(make_model, rule):
    head = dict(type='mmpretrain.MultiLabelLinearClsHead', num_classes=CLASSES, in_channels=16, **rule)
    model = make_model(head=head, predict_by=BY_TEXTS).eval()
    inputs, samples = batch(labels=([0, 1], [], [3]))
    presence = model.ask(inputs, model.teacher.text_embeddings[:CLASSES]).presence
    found = model.predict(inputs, samples)
    torch.testing.assert_close(scores_of(found), presence)
    for sample, row in zip(found, presence.tolist()):
        order = sorted(range(CLASSES), key=lambda label: -row[label])
        above = [label for label, value in enumerate(row) if value >= rule.get('thr', 0.5)]
        expected = order[:2] if rule == dict(topk=2) else above
        assert sample.pred_label.tolist() == expected


@torch.no_grad()
def test_where_it_is_only_tested_the_text_tower_is_all_that_it_asks(make_model):
    inputs, samples = batch()
    tested, trained = (make_model(predict_by=BY_TEXTS).eval() for _ in range(2))
    assert trained.teacher is not None
    expected = scores_of(trained.predict(inputs, copy.deepcopy(samples)))
    torch.testing.assert_close(scores_of(tested.predict(inputs, samples)), expected)
    assert not tested.teacher_is_built


@torch.no_grad()
def test_padding_has_no_say(make_model):
    model = make_model(predict_by=BY_TEXTS).eval()
    inputs, samples = batch(shapes=[(16, 32)] * 3)
    with model.backbone.hide_padding([(16, 32)] * 3):
        expected = model(inputs).softmax(1)
    torch.testing.assert_close(scores_of(model.predict(inputs, samples)), expected)
    assert not torch.allclose(scores_of(model.predict(inputs)), expected)


def test_it_is_trained_as_the_classifier_with_a_head_whose_checkpoints_it_reads(make_model):
    ours, theirs = make_model(predict_by=BY_TEXTS), make_model()
    assert isinstance(ours.predict_by, ByTexts)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    losses = [model.loss(*batch()) for model in (ours, theirs)]
    assert losses[0].keys() == losses[1].keys()
    for name in losses[0]:
        assert torch.equal(losses[0][name], losses[1][name]), name


@pytest.mark.parametrize('max_concepts', [None, 2])
def test_logit_kd_reaches_the_scores_by_text(make_model, max_concepts):
    taught = parts('interactions', logit_kd=dict(loss_weight=2.0, temperature=1.0))
    model = make_model(predict_by=BY_TEXTS, supervision=taught, teacher=dict(max_concepts=max_concepts))
    inputs, samples = batch(hidden=(0, 1, 2))
    losses = model.loss(inputs, samples)
    targets = model.part_targets(model.batch_of(inputs, samples))['logit_kd'][:, :CLASSES].softmax(1)
    ours = model(inputs).softmax(1)
    expected = 2 * (targets * (targets / ours).log()).sum(1).mean()
    torch.testing.assert_close(losses['loss_logits'], expected, rtol=1e-4, atol=1e-6)
    losses['loss_logits'].backward()
    assert not [key for key, parameter in model.head.named_parameters() if parameter.grad is not None]
    assert model.readout.presence_head.weight.grad.any()


def test_the_head_learns_from_labels_beside_it(make_model):
    model = make_model(predict_by=BY_TEXTS, supervision=parts('interactions', 'logit_kd'))
    model.loss(*batch())['loss_cls'].backward()
    assert all(parameter.grad.any() for parameter in model.head.parameters())


# ---- ByTexts, of named ones ------------------------------------------------------------------------------


@torch.no_grad()
def test_named_classes_are_told_by_the_presence_scores_of_their_texts(zero_shot, make_model, named_texts):
    trained, model = make_model(std=0.3), zero_shot()
    loaded = model.load_state_dict(trained.state_dict(), strict=False)
    # The head that was trained is all that is left over.
    assert not loaded.missing_keys
    assert {name.split('.')[0] for name in loaded.unexpected_keys} == {'head'}
    inputs, samples = named_batch()
    results = model.predict(inputs, samples)
    presence = trained.eval().ask(inputs, named_texts).presence
    expected = torch.logit(presence.double()).softmax(1).float()
    torch.testing.assert_close(scores_of(results), expected, rtol=1e-4, atol=1e-6)
    assert [result.pred_label.item() for result in results] == expected.argmax(1).tolist()


@torch.no_grad()
def test_a_student_with_a_head_may_name_classes_too(make_model, zero_shot):
    with_head = make_model(predict_by=ZERO_SHOT, supervision=None).eval()
    without = zero_shot()
    without.load_state_dict(with_head.state_dict(), strict=False)
    inputs, _ = named_batch()
    torch.testing.assert_close(with_head(inputs), without(inputs))


@torch.no_grad()
def test_with_the_head_of_several_labels_named_classes_are_told_one_by_one(make_model, named_texts):
    head = dict(type='mmpretrain.MultiLabelClsHead')
    model = make_model(head=head, predict_by=ZERO_SHOT, supervision=None).eval()
    inputs, samples = named_batch()
    presence = model.ask(inputs, named_texts).presence
    torch.testing.assert_close(scores_of(model.predict(inputs, samples)), presence)


@torch.no_grad()
def test_its_queries_read_no_padding(zero_shot):
    model = zero_shot()
    inputs, samples = named_batch(shapes=[(16, 32), (32, 32)], labels=(0, 0))
    padded = scores_of(model.predict(inputs, samples))
    with model.backbone.hide_padding([(16, 32), (32, 32)]):
        expected = model(inputs).softmax(1)
    torch.testing.assert_close(padded, expected)
    assert not torch.allclose(padded[0], model(inputs)[0].softmax(0))


def test_the_prompts_are_logged(zero_shot, monkeypatch):
    lines = []
    model = zero_shot()
    monkeypatch.setattr(MMLogger.get_current_instance(), 'log', lambda level, text: lines.append(text))
    model.predict_by.class_texts(model)
    assert 'Zero-shot prompts: a photo of a {}., a sketch of a {}.; classes: dog, horse, house' in lines


def test_templates_default_to_the_teachers(zero_shot):
    plain = zero_shot(dict(type='lfi.ByTexts', concepts=NAMED), teacher=dict(templates=PROMPTS))
    both = zero_shot()
    torch.testing.assert_close(plain.predict_by.class_texts(plain), both.predict_by.class_texts(both))
    by_data_set = zero_shot(dict(type='lfi.ByTexts', concepts=dict(type='lfi.PACS')))
    assert by_data_set.predict_by.class_texts(by_data_set).shape == (7, 24)


@torch.no_grad()
def test_other_texts_are_answered_in_the_pass_that_tells_the_classes(zero_shot):
    model = zero_shot()
    inputs, samples = named_batch()
    texts = model.predict_by.class_texts(model).flip(0)[:2]
    alone = scores_of(model.predict(inputs, copy.deepcopy(samples)))
    with model.backbone.record_interactions(model.readout.asked_queries(texts)) as record:
        predicted = scores_of(model.predict(inputs, samples))
    expected = model.ask(inputs, texts)
    presence = model.readout.presence_logits(record.states, texts).sigmoid()
    torch.testing.assert_close(presence, expected.presence)
    torch.testing.assert_close(predicted, alone)


@torch.no_grad()
def test_its_pictures_show_the_named_classes(make_model):
    model = make_model(predict_by=ZERO_SHOT, head=None)
    teacher, student = model.predict_interactions(*batch())
    assert model.teacher.bank.names == (*NAMED, 'wall')
    assert model.predict_by.class_names_of(model) == tuple(NAMED)
    assert teacher.logits.shape[2] == student.logits.shape[2] == 4


# ---- ByFeatures ------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(
    ('backbone', 'shape'),
    [(dict(), (16,)), (dict(out_type='avg_featmap'), (16,)), (dict(out_type='featmap'), (16, 4, 4))],
)
def test_a_backbone_alone_gives_features(make_pretrainer, backbone, shape):
    model, data = make_pretrainer(backbone=backbone).eval(), raw_batch((0, 3, 1, 2))
    assert isinstance(model.predict_by, ByFeatures)
    inputs = model.data_preprocessor(copy.deepcopy(data), False)['inputs']
    (features,) = model(inputs)
    assert features.shape == (4, *shape)
    samples = model.val_step(data)
    alone = model(inputs, mode='predict')
    for sample, other, its in zip(samples, alone, features):
        assert sample.features.shape == (16,)
        assert torch.allclose(sample.features, its.reshape(16, -1).mean(1), atol=1e-6)
        assert sample.features.equal(other.features)
    assert [sample.gt_label.item() for sample in samples] == [0, 3, 1, 2]


def test_features_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 17, 16\) .* set backbone.out_type='avg_featmap'"):
        pool(torch.zeros(2, 17, 16))


# ---- What is refused -------------------------------------------------------------------------------------


def refused(message, make, **arguments):
    with pytest.raises(ValueError, match=message) as caught:
        make(**arguments)
    assert '\n' not in str(caught.value)


def test_what_cannot_predict_by_texts_is_refused_when_it_is_built(make_classifier):
    refused(
        'predict_by=ByTexts needs the text tower of model.teacher: give the teacher of the training',
        make_classifier,
        teacher=None,
        supervision=None,
        readout=dict(text_dims=24),
        predict_by=BY_TEXTS,
    )
    refused(
        r"there is no head: name the classes, predict_by.concepts=\['cat', ...\]",
        make_classifier,
        head=None,
        std=0.1,
        predict_by=BY_TEXTS,
    )
    refused(
        r"predict_by.templates=\['{}'\] are prompts of predict_by.concepts: set predict_by.concepts too",
        make_classifier,
        predict_by=dict(BY_TEXTS, templates=['{}']),
    )


def test_texts_of_another_width_than_the_readouts_are_refused(zero_shot):
    model = zero_shot(readout=dict(text_dims=12))
    message = 'readout.text_dims=12, but the teacher embeds its texts in 24'
    refused(message, model.predict_by.class_texts, student=model)


@pytest.mark.parametrize(
    'supervision',
    [interactions(presence_weight=0), parts('prior'), parts('affinity', 'dense_features')],
)
def test_training_that_learns_no_presence_is_refused(make_classifier, supervision):
    refused(
        'predict_by=ByTexts predicts by presence, and no part learns presence: set '
        'supervision.interactions.loss.presence_weight above 0, or predict_by=None',
        make_classifier,
        supervision=supervision,
        predict_by=BY_TEXTS,
    )
    # It is tested all the same: of what was trained before.
    make_classifier(std=0.1, supervision=supervision, predict_by=BY_TEXTS).eval().predict(*batch())


def test_a_classifier_without_a_head_does_not_train(zero_shot):
    refused(
        'StudentImageClassifier has no head, and is for testing only: .*model.task=None',
        zero_shot().loss,
        inputs=batch()[0],
        data_samples=batch()[1],
    )


def test_an_unknown_way_to_predict_is_refused(make_classifier):
    with pytest.raises(ValueError, match="predict_by.type='lfi.ByGuess' is unknown; choose from"):
        make_classifier(predict_by=dict(type='lfi.ByGuess'))
    refused("predict_by='lfi.ByTexts' must be a config", make_classifier, predict_by='lfi.ByTexts')
