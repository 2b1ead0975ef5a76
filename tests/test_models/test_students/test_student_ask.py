"""What a student, and its teacher, are asked outside a training step."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from small_students import ADAPTER, CLASSES, NAMES, OF_MAPS, RESNET, batch, interactions, parts


def test_ask_gives_maps_and_presence_of_any_texts(make_classifier):
    model = make_classifier().eval()
    inputs, _ = batch((40, 32))
    texts = F.normalize(torch.randn(5, 24, generator=torch.Generator().manual_seed(2)), dim=-1)
    got = model.ask(inputs, texts)
    assert got.logits.shape == (3, 2, 5, 5, 4) and got.directions == ('spatial',)
    assert (got.concepts, got.layers) == (None, (2, 3))
    assert got.valid.all() and not got.logits.requires_grad and got.check() is got
    assert got.presence.gt(0).all() and got.presence.lt(1).all()
    # Each by itself, and in another order.
    order = [3, 0, 4]
    some = model.ask(inputs, texts[order])
    torch.testing.assert_close(some.logits, got.logits[:, :, order], rtol=0, atol=1e-5)
    torch.testing.assert_close(some.presence, got.presence[:, order], rtol=0, atol=1e-5)
    with model.backbone.record_interactions(model.readout.asked_queries(texts)) as record:
        model.backbone(inputs)
    torch.testing.assert_close(got.presence, model.readout.presence_logits(record.states, texts).sigmoid())


@pytest.mark.parametrize('backbone', [dict(), dict(num_queries=0), dict(with_cls_token=False)])
def test_ask_leaves_padding_out(make_classifier, backbone):
    kwargs = dict(out_type='avg_featmap') if 'with_cls_token' in backbone else {}
    model = make_classifier(backbone={**backbone, **kwargs}).eval()
    inputs, _ = batch((40, 32))
    sizes = [(24, 16), (40, 32), (35, 13)]
    texts = model.teacher.text_embeddings
    got = model.ask(inputs, texts, sizes)
    for b, (rows, columns) in enumerate([(3, 2), (5, 4), (4, 2)]):
        expected = torch.zeros(5, 4, dtype=torch.bool)
        expected[:rows, :columns] = True
        assert torch.equal(got.valid[b], expected)
    # As in training.
    samples = [
        DataSample(metainfo=dict(img_shape=size, num_classes=CLASSES)).set_gt_label(0) for size in sizes
    ]
    student = model.predict_interactions(inputs, samples)[1]
    assert torch.equal(student.valid, got.valid)
    torch.testing.assert_close(student.spatial_log_probs(), got.spatial_log_probs())
    torch.testing.assert_close(student.presence, got.presence)


STAGES = dict(ADAPTER, backbone=dict(RESNET, out_indices=(2, 3)), probe_size=64)


@pytest.mark.parametrize(
    ('backbone', 'width'),
    [(dict(drop_path_rate=0.5, drop_rate=0.5), 16), (STAGES, 64)],
    ids=['ViT', 'ResNet'],
)
def test_a_model_in_training_answers_as_in_evaluation_mode_and_goes_on_training(
    make_classifier, backbone, width
):
    model = make_classifier(backbone=backbone, **(OF_MAPS if width == 64 else {}))
    # One part is frozen by hand.
    next(model.backbone.children()).eval()
    modes = {name: module.training for name, module in model.named_modules()}
    assert set(modes.values()) == {True, False}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    inputs, samples = batch((64, 64))
    texts = model.teacher.text_embeddings
    asked = [model.ask(inputs, texts), *model.predict_interactions(inputs, samples)]
    with pytest.raises(ValueError, match='texts must be'):
        model.ask(inputs, texts[0])
    with pytest.raises(RuntimeError):
        model.ask(inputs[:, :2], texts)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    model.eval()
    expected = [model.ask(inputs, texts), *model.predict_interactions(inputs, samples)]
    for ours, theirs in zip(asked, expected):
        assert torch.equal(ours.logits, theirs.logits) and torch.equal(ours.presence, theirs.presence)


@pytest.mark.parametrize('shape', [(24,), (5, 512), (3, 5, 24)])
def test_texts_of_another_shape_are_refused(make_classifier, shape):
    with pytest.raises(ValueError, match=r'texts must be \(M, E\) with E = readout.text_dims = 24, got'):
        make_classifier().ask(batch()[0], torch.zeros(shape))


@pytest.mark.parametrize('max_concepts', [None, 2])
def test_the_teacher_answers_about_all_concepts_as_it_is_read_and_without_labels(
    make_classifier, max_concepts
):
    reading = dict(spatial_reading='concept_softmax', presence='best-location')
    model = make_classifier(teacher=dict(max_concepts=max_concepts), supervision=interactions(reading)).eval()
    inputs, samples = batch((40, 32), shapes=[(24, 16), (40, 32), (35, 13)])
    sizes = [(24, 16), (40, 32), (35, 13)]
    got = model.teacher_answers(inputs, sizes)[0].check()
    assert got.concepts is None and got.grid == (5, 4) and got.presence.shape == (3, 6)
    # The label alone is what a step adds.
    in_step = (
        make_classifier(supervision=interactions(reading)).eval().predict_interactions(inputs, samples)[0]
    )
    torch.testing.assert_close(got.spatial_log_probs(), in_step.spatial_log_probs())
    assert torch.equal(got.valid, in_step.valid)
    rows, labels = torch.arange(3), torch.tensor([0, 3, 1])
    assert (in_step.presence[rows, labels] == 1).all() and (got.presence[rows, labels] < 1).all()
    unlabelled = torch.ones(3, 6, dtype=torch.bool)
    unlabelled[rows, labels] = False
    torch.testing.assert_close(got.presence[unlabelled], in_step.presence[unlabelled])


def test_the_teacher_answers_about_complete_images_by_default(make_classifier):
    model = make_classifier().eval()
    inputs, _ = batch((28, 20))
    (got, _), (expected, _) = model.teacher_answers(inputs), model.teacher_answers(inputs, [(28, 20)] * 3)
    assert torch.equal(got.logits, expected.logits) and torch.equal(got.valid, expected.valid)


@pytest.mark.parametrize(('spatial_reading', 'contrast_weight'), (('logits', 0), ('concept_softmax', 0.9)))
def test_a_student_answers_as_its_teacher_is_read(make_classifier, spatial_reading, contrast_weight):
    model = make_classifier(
        supervision=interactions(dict(spatial_reading=spatial_reading, presence='image'))
    ).eval()
    model.init_weights()
    texts = model.teacher.text_embeddings
    assert model.readout.contrast_weight == contrast_weight
    if contrast_weight:
        assert model.readout.contrast_texts[: len(texts)].equal(texts)
    inputs = batch()[0]
    together = model.ask(inputs, texts)
    alone = model.ask(inputs, texts[1:2])
    torch.testing.assert_close(together.logits[:, :, 1:2], alone.logits, rtol=0, atol=1e-4)


def test_training_from_a_checkpoint_takes_the_rivals_of_its_own_bank(make_classifier):
    taught = dict(supervision=interactions(dict(spatial_reading='concept_softmax')))
    before = make_classifier(**taught)
    model = make_classifier(**taught, teacher=dict(concepts=[*NAMES[:CLASSES], 'gear', 'moon']))
    model.load_state_dict(before.state_dict())
    model.loss(*batch())
    assert torch.equal(model.readout.contrast_texts[: len(NAMES)], model.teacher.text_embeddings)
    assert not torch.equal(model.readout.contrast_texts, before.readout.contrast_texts)
    # What was learnt refers to the mean.
    assert torch.equal(model.readout.text_centre, before.readout.text_centre)


def test_scores_that_do_not_learn_weigh_no_answer(make_classifier):
    reading, unlearnt = dict(spatial_reading='concept_softmax'), dict(semantic_weight=0, presence_weight=0)
    assert make_classifier(supervision=interactions(reading, **unlearnt)).readout.contrast_weight == 0
    for learnt in (dict(semantic_weight=0), dict(presence_weight=0)):
        assert make_classifier(supervision=interactions(reading, **learnt)).readout.contrast_weight == 0.9
    with pytest.raises(
        ValueError, match=r'readout\.contrast_weight=0\.5 weighs .* presence_weight of .* are 0'
    ):
        make_classifier(supervision=interactions(reading, **unlearnt), readout=dict(contrast_weight=0.5))


def test_a_student_of_no_interactions_says_what_it_cannot(make_classifier):
    plain = make_classifier(supervision=parts('logit_kd'))
    texts = plain.teacher.text_embeddings
    with pytest.raises(ValueError, match='StudentImageClassifier has no read-out to answer texts with'):
        plain.ask(batch()[0], texts)
    for answer in (lambda: plain.predict_interactions(*batch()), lambda: plain.teacher_answers(batch()[0])):
        with pytest.raises(TypeError, match='StudentImageClassifier learns no interactions'):
            answer()
    # One with a read-out answers, whatever it has learnt.
    assert make_classifier(std=0.1, supervision=None, readout={}).ask(batch()[0], texts).check()


def test_a_cache_gives_no_answers_of_the_teacher(cached_model):
    model, images, _, _ = cached_model
    with pytest.raises(TypeError, match='must run on images: set model.teacher.cache=None, not'):
        model.teacher_answers(images)
